//! From one Revision to the next, and back.

use fermata_crds::{Function, Revision, conditions};
use k8s_openapi::api::apps::v1::Deployment;

use crate::world::{World, revisions, waiting};

#[tokio::test]
async fn requests_move_when_the_new_revision_is_ready_and_not_before() {
    let world = World::start().await;
    world.apply("hello", "{ image: example.com/a:1 }").await;
    world.replicas("hello-00001", 1, 1).await;
    world.serves("hello", "hello-00001").await;

    world.apply("hello", "{ image: example.com/a:2 }").await;
    world
        .until::<Function>("hello", "rolling", |function| {
            let status = function.status.as_ref();
            status.and_then(|status| status.latest_created_revision.as_deref())
                == Some("hello-00002")
        })
        .await;
    let message = world
        .condition("hello", conditions::READY, ("Unknown", "Deploying"))
        .await;
    assert!(
        message.contains("hello-00001 keeps the traffic"),
        "{message}"
    );
    world.replicas("hello-00002", 1, 0).await;
    world.serves("hello", "hello-00001").await;

    world.replicas("hello-00002", 1, 1).await;
    world.serves("hello", "hello-00002").await;
    world.ready("hello").await;
    world.end().await;
}

#[tokio::test]
async fn a_roll_under_load_starts_as_large_as_what_it_replaces() {
    let world = World::start().await;
    world.apply("hello", "{ image: example.com/a:1 }").await;
    world.replicas("hello-00001", 1, 1).await;
    world.serves("hello", "hello-00001").await;
    world.scale("hello-00001", 7).await;
    world.replicas("hello-00001", 7, 7).await;
    world
        .condition("hello", conditions::ACTIVE, ("True", "Running"))
        .await;
    world
        .until::<Function>("hello", "at 7", |function| {
            function
                .status
                .as_ref()
                .and_then(|status| status.ready_replicas)
                == Some(7)
        })
        .await;

    world.apply("hello", "{ image: example.com/a:2 }").await;
    let deployment = world
        .until::<Deployment>("hello-00002", "there", |_| true)
        .await;
    assert_eq!(deployment.spec.unwrap().replicas, Some(7));
    world.replicas("hello-00002", 7, 6).await;
    world.settled().await;
    world.serves("hello", "hello-00001").await;
    world.replicas("hello-00002", 7, 7).await;
    world.serves("hello", "hello-00002").await;
    world.end().await;
}

#[tokio::test]
async fn a_template_that_comes_back_gets_its_old_revision_and_the_requests_at_once() {
    let world = World::start().await;
    let [one, two] = ["{ image: example.com/a:1 }", "{ image: example.com/a:2 }"];
    world.apply("hello", one).await;
    world.replicas("hello-00001", 1, 1).await;
    world.serves("hello", "hello-00001").await;
    world.apply("hello", two).await;
    world.replicas("hello-00002", 1, 1).await;
    world.serves("hello", "hello-00002").await;

    world.apply("hello", one).await;
    let function = world.serves("hello", "hello-00001").await;
    let status = function.status.unwrap();
    assert_eq!(
        status.latest_created_revision.as_deref(),
        Some("hello-00001")
    );
    assert_eq!(
        revisions(&world, "hello").await,
        ["hello-00001", "hello-00002"]
    );
    world.end().await;
}

#[tokio::test]
async fn a_revision_that_was_overtaken_on_trial_never_gets_requests() {
    let world = World::start().await;
    world.apply("hello", "{ image: example.com/a:1 }").await;
    world.replicas("hello-00001", 1, 1).await;
    world.serves("hello", "hello-00001").await;
    world.apply("hello", "{ image: example.com/a:bad }").await;
    world.replicas("hello-00002", 1, 0).await;
    world
        .pod("hello-00002", waiting("ErrImagePull", "no such image"))
        .await;
    world
        .condition("hello", conditions::READY, ("False", "ImagePullFailed"))
        .await;

    world.apply("hello", "{ image: example.com/a:3 }").await;
    world
        .until::<Deployment>("hello-00003", "there", |_| true)
        .await;
    world.replicas("hello-00002", 1, 1).await;
    world.settled().await;
    world.serves("hello", "hello-00001").await;
    world.replicas("hello-00003", 1, 1).await;
    world.serves("hello", "hello-00003").await;
    world.end().await;
}

#[tokio::test]
async fn old_revisions_go_when_they_rest_and_are_too_many() {
    let world = World::start().await;
    for number in 1..=4 {
        let spec = format!(
            "{{ image: 'example.com/a:{number}', revisionHistoryLimit: 1, scale: {{ initial: 1 }} }}"
        );
        world.apply("hello", &spec).await;
        let revision = format!("hello-0000{number}");
        world.replicas(&revision, 1, 1).await;
        world.serves("hello", &revision).await;
    }
    // 1 to 3 still have replicas: none of them may go.
    world.settled().await;
    assert_eq!(revisions(&world, "hello").await.len(), 4);

    for number in [1, 2, 3] {
        let revision = format!("hello-0000{number}");
        world.scale(&revision, 0).await;
        world.replicas(&revision, 0, 0).await;
    }
    world.until_gone::<Revision>("hello-00001").await;
    world.until_gone::<Revision>("hello-00002").await;
    world.settled().await;
    assert_eq!(
        revisions(&world, "hello").await,
        ["hello-00003", "hello-00004"]
    );
    world.end().await;
}

#[tokio::test]
async fn metadata_scale_and_exposure_make_no_revision() {
    let world = World::start().await;
    world
        .apply("hello", "{ image: example.com/a:1, scale: { initial: 0 } }")
        .await;
    world.ready("hello").await;
    let spec =
        "{ image: example.com/a:1, scale: { initial: 0, min: 0, max: 9 }, expose: { path: /x } }";
    world.apply("hello", spec).await;
    world
        .until::<Revision>("hello-00001", "rescaled", |revision| {
            revision.spec.scale().max() == 9
        })
        .await;
    let label = kube::api::Patch::Merge(serde_json::json!({"metadata": {"labels": {"a": "b"}}}));
    let patched = world
        .api::<Function>()
        .patch("hello", &Default::default(), &label)
        .await;
    patched.expect("a label");
    world.settled().await;
    assert_eq!(revisions(&world, "hello").await, ["hello-00001"]);
    world.end().await;
}
