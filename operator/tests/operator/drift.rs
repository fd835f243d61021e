//! What somebody else changes is put right; what is the gateway's stays.

use fermata_crds::{Function, Revision, conditions};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::world::World;

async fn edit<K>(world: &World, name: &str, patch: Value)
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let patched = world
        .api::<K>()
        .patch(name, &PatchParams::default(), &Patch::Strategic(patch))
        .await;
    patched.expect("an edited object");
}

fn image(deployment: &Deployment) -> Option<&str> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers[0].image.as_deref()
}

#[tokio::test]
async fn an_edited_deployment_is_put_right_without_touching_its_replicas() {
    let world = World::start().await;
    world.apply("hello", "{ image: example.com/a:1 }").await;
    world.replicas("hello-00001", 1, 1).await;
    world.ready("hello").await;
    let other_image = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "function", "image": "example.com/evil:1"}]}}}});
    edit::<Deployment>(&world, "hello-00001", other_image.clone()).await;
    let put_right = world
        .until::<Deployment>("hello-00001", "put right", |deployment| {
            image(deployment) == Some("example.com/a:1")
        })
        .await;
    assert_eq!(put_right.spec.unwrap().replicas, Some(1));

    world.scale("hello-00001", 5).await;
    edit::<Deployment>(&world, "hello-00001", other_image).await;
    let put_right = world
        .until::<Deployment>("hello-00001", "put right", |deployment| {
            image(deployment) == Some("example.com/a:1")
        })
        .await;
    assert_eq!(put_right.spec.unwrap().replicas, Some(5));
    world.end().await;
}

#[tokio::test]
async fn replicas_are_the_gateways_from_its_first_scale_on() {
    let world = World::start().await;
    world.apply("hello", "{ image: example.com/a:1 }").await;
    world.replicas("hello-00001", 1, 1).await;
    world.ready("hello").await;
    world.scale("hello-00001", 0).await;
    world.replicas("hello-00001", 0, 0).await;
    world
        .condition("hello", conditions::ACTIVE, ("False", "AtZero"))
        .await;
    world.ready("hello").await;
    edit::<Deployment>(
        &world,
        "hello-00001",
        json!({"metadata": {"labels": {"fermata.dev/function": "x"}}}),
    )
    .await;
    let put_right = world
        .until::<Deployment>("hello-00001", "put right", |deployment| {
            deployment.metadata.labels.as_ref().unwrap()["fermata.dev/function"] == "hello"
        })
        .await;
    assert_eq!(put_right.spec.unwrap().replicas, Some(0));
    world.end().await;
}

#[tokio::test]
async fn deleted_children_come_back_as_they_were() {
    let world = World::start().await;
    world.create_runtime().await;
    let spec = "{ source: { runtime: python, files: { main.py: a } } }";
    world.apply("hello", spec).await;
    world.replicas("hello-00001", 1, 1).await;
    world.ready("hello").await;
    world.scale("hello-00001", 3).await;
    world.replicas("hello-00001", 3, 3).await;
    world
        .until::<fermata_crds::Revision>("hello-00001", "at 3", |revision| {
            revision.status.as_ref().and_then(|status| status.replicas) == Some(3)
        })
        .await;

    world.delete::<Deployment>("hello-00001").await;
    let back = world
        .until::<Deployment>("hello-00001", "back", |_| true)
        .await;
    assert_eq!(back.spec.unwrap().replicas, Some(3));
    world.delete::<ConfigMap>("hello-00001").await;
    world
        .until::<ConfigMap>("hello-00001", "back", |_| true)
        .await;
    world.delete::<Service>("hello").await;
    world.until::<Service>("hello", "back", |_| true).await;
    edit::<Service>(
        &world,
        "hello",
        json!({"spec": {"externalName": "elsewhere.example"}}),
    )
    .await;
    world
        .until::<Service>("hello", "put right", |service| {
            let name = service
                .spec
                .as_ref()
                .and_then(|spec| spec.external_name.as_deref());
            name.is_some_and(|name| name.starts_with("fermata-gateway"))
        })
        .await;
    world.end().await;
}

#[tokio::test]
async fn what_others_add_is_left_alone_and_nothing_is_written_for_it() {
    let world = World::start().await;
    world
        .apply("hello", "{ image: example.com/a:1, scale: { initial: 0 } }")
        .await;
    world.ready("hello").await;
    world.settled().await;
    let before = of(&world, "hello");
    edit::<Deployment>(&world, "hello-00001", json!({"metadata": {"annotations": {"a": "b"}},
        "spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}))
        .await;
    edit::<Service>(
        &world,
        "hello",
        json!({"metadata": {"labels": {"team": "a"}}}),
    )
    .await;
    world.settled().await;
    assert_eq!(of(&world, "hello"), before);
    let deployment = world
        .until::<Deployment>("hello-00001", "there", |_| true)
        .await;
    assert_eq!(deployment.metadata.annotations.unwrap()["a"], "b");
    world.end().await;
}

#[tokio::test]
async fn nothing_is_written_at_rest_nor_after_a_restart() {
    let mut world = World::start().await;
    world.create_runtime().await;
    let quantities = "{ image: example.com/a:1, resources: { requests: { cpu: 1000m, memory: 64Mi } }, scale: { initial: 0 } }";
    world.apply("plain", quantities).await;
    world
        .apply(
            "code",
            "{ source: { runtime: python, files: { main.py: a } }, scale: { initial: 0 } }",
        )
        .await;
    world.ready("plain").await;
    world.ready("code").await;
    world.settled().await;
    let before = (of(&world, "plain"), of(&world, "code"));

    world.stop_operator().await;
    world.start_operator(fermata_operator::Options::default());
    world.settled().await;
    assert_eq!((of(&world, "plain"), of(&world, "code")), before);
    world.end().await;
}

#[tokio::test]
async fn labels_and_annotations_of_a_function_reach_its_children_and_leave_them_again() {
    let mut world = World::start().await;
    world
        .apply("hello", "{ image: example.com/a:1, scale: { initial: 0 } }")
        .await;
    world.ready("hello").await;
    let template = |deployment: &Deployment| deployment.spec.clone().unwrap().template;
    let before = world
        .until::<Deployment>("hello-00001", "there", |_| true)
        .await;
    let written = of(&world, "hello").len();
    edit_function(
        &world,
        json!({"labels": {"team": "shop", "app.kubernetes.io/instance": "x"},
            "annotations": {"example.com/note": "hi"}}),
    )
    .await;
    let has = |meta: &kube::core::ObjectMeta| {
        let label = meta.labels.as_ref().and_then(|labels| labels.get("team"));
        let note = meta.annotations.as_ref();
        let note = note.and_then(|annotations| annotations.get("example.com/note"));
        (label.is_some(), note.is_some())
    };
    let both = (true, true);
    let service = world
        .until::<Service>("hello", "labelled", |service| {
            has(&service.metadata) == both
        })
        .await;
    assert!(
        !service
            .metadata
            .labels
            .unwrap()
            .contains_key("app.kubernetes.io/instance")
    );
    world
        .until::<Revision>("hello-00001", "labelled", |revision| {
            has(&revision.metadata) == both
        })
        .await;
    let after = world
        .until::<Deployment>("hello-00001", "labelled", |deployment| {
            has(&deployment.metadata) == both
        })
        .await;
    assert_eq!(template(&before), template(&after), "no pod is restarted");
    world.settled().await;
    let writes = of(&world, "hello");
    // Its status, which tells the generation, may be among them.
    assert!(writes.len() <= written + 4, "{:#?}", &writes[written..]);

    world.stop_operator().await;
    world.start_operator(fermata_operator::Options::default());
    world.settled().await;
    assert_eq!(of(&world, "hello"), writes, "nothing is written at rest");

    edit_function(
        &world,
        json!({"labels": {"team": null}, "annotations": {"example.com/note": null}}),
    )
    .await;
    let none = (false, false);
    world
        .until::<Service>("hello", "plain", |service| has(&service.metadata) == none)
        .await;
    world
        .until::<Revision>("hello-00001", "plain", |revision| {
            has(&revision.metadata) == none
        })
        .await;
    world
        .until::<Deployment>("hello-00001", "plain", |deployment| {
            has(&deployment.metadata) == none
        })
        .await;
    world.end().await;
}

async fn edit_function(world: &World, metadata: Value) {
    let patch = Patch::Merge(json!({"metadata": metadata}));
    let api = world.api::<Function>();
    let patched = api.patch("hello", &PatchParams::default(), &patch).await;
    patched.expect("an edited function");
}

/// What was written about a Function or its children.
fn of(world: &World, name: &str) -> Vec<String> {
    let (exact, child) = (format!("/{name}"), format!("/{name}-0"));
    let mut writes = world.writes();
    writes.retain(|line| {
        line.ends_with(&exact) || line.contains(&format!("{exact}/")) || line.contains(&child)
    });
    writes
}
