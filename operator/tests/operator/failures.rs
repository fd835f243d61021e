//! Everything that can keep a function from working is told in its conditions, and cleared.

use fermata_crds::conditions;
use k8s_openapi::api::{core::v1::Pod, events::v1::Event};
use serde_json::json;

use crate::world::{World, container, waiting};

async fn on_trial() -> World {
    let world = World::start().await;
    world.apply("hello", "{ image: example.com/a:1 }").await;
    world.replicas("hello-00001", 1, 0).await;
    world
}

async fn mended(world: World) {
    world
        .deployment_status(
            "hello-00001",
            json!({"replicas": 1, "readyReplicas": 1, "conditions": []}),
        )
        .await;
    world.ready("hello").await;
    world.end().await;
}

#[tokio::test]
async fn an_image_that_cannot_be_had() {
    let world = on_trial().await;
    world
        .pod("hello-00001", waiting("ErrImagePull", "manifest unknown"))
        .await;
    let message = world
        .condition("hello", conditions::READY, ("False", "ImagePullFailed"))
        .await;
    assert_eq!(message, "hello-00001: ErrImagePull: manifest unknown");
    world
        .condition("hello", conditions::ACTIVE, ("False", "ImagePullFailed"))
        .await;

    // The back-off in between changes nothing, and is not written.
    let before = world.writes().len();
    world
        .pod(
            "hello-00001",
            waiting("ImagePullBackOff", "Back-off pulling image"),
        )
        .await;
    world.settled().await;
    let about: Vec<_> = world.writes()[before..]
        .iter()
        .filter(|line| line.contains("hello"))
        .cloned()
        .collect();
    assert!(about.is_empty(), "{about:#?}");

    world.delete::<Pod>("hello-00001-pod").await;
    mended(world).await;
}

#[tokio::test]
async fn a_container_that_cannot_be_made() {
    let world = on_trial().await;
    let status = waiting("CreateContainerConfigError", "secret \"key\" not found");
    world.pod("hello-00001", status).await;
    let message = world
        .condition("hello", conditions::READY, ("False", "ContainerFailed"))
        .await;
    assert!(message.contains("secret \"key\" not found"), "{message}");
    world.delete::<Pod>("hello-00001-pod").await;
    mended(world).await;
}

#[tokio::test]
async fn a_crash_with_its_last_words() {
    let world = on_trial().await;
    let log = "Traceback (most recent call last):\nNameError: name 'x' is not defined\n";
    let ended = json!({"terminated": {"exitCode": 3, "reason": "Error", "message": log}});
    let back_off = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    world
        .pod("hello-00001", container(back_off, ended, 1))
        .await;
    let message = world
        .condition("hello", conditions::READY, ("False", "CrashLoop"))
        .await;
    assert_eq!(
        message,
        "hello-00001: the function ends with exit code 3; its last words: NameError: name 'x' is not defined"
    );
    world.delete::<Pod>("hello-00001-pod").await;
    mended(world).await;
}

#[tokio::test]
async fn a_quota_that_is_used_up() {
    let world = on_trial().await;
    let sentence = "pods \"hello-00001-abc\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1";
    let conditions_ = json!([{"type": "ReplicaFailure", "status": "True",
        "reason": "FailedCreate", "message": sentence}]);
    world
        .deployment_status(
            "hello-00001",
            json!({"replicas": 0, "conditions": conditions_}),
        )
        .await;
    let message = world
        .condition("hello", conditions::READY, ("False", "QuotaExceeded"))
        .await;
    assert!(message.contains(sentence), "{message}");
    mended(world).await;
}

#[tokio::test]
async fn no_node_with_room() {
    let world = on_trial().await;
    let sentence = "0/3 nodes are available: 3 Insufficient memory.";
    let status = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled",
        "status": "False", "reason": "Unschedulable", "message": sentence}]});
    world.pod("hello-00001", status).await;
    let message = world
        .condition("hello", conditions::READY, ("False", "Unschedulable"))
        .await;
    assert!(message.contains(sentence), "{message}");
    world.delete::<Pod>("hello-00001-pod").await;
    mended(world).await;
}

#[tokio::test]
async fn replicas_that_never_become_ready() {
    let world = on_trial().await;
    let conditions_ = json!([{"type": "Progressing", "status": "False",
        "reason": "ProgressDeadlineExceeded", "message": "has timed out progressing."}]);
    world
        .deployment_status(
            "hello-00001",
            json!({"replicas": 1, "conditions": conditions_}),
        )
        .await;
    let message = world
        .condition("hello", conditions::READY, ("False", "NotReadyInTime"))
        .await;
    assert!(
        message.contains("does the function listen on $PORT"),
        "{message}"
    );
    mended(world).await;
}

/// The state of a pod that runs, unready for so many seconds after it was ready.
fn unready_for(seconds: i64) -> serde_json::Value {
    let ago = |seconds: i64| {
        let now = jiff::Timestamp::now().as_second();
        jiff::Timestamp::from_second(now - seconds)
            .unwrap()
            .to_string()
    };
    let mut status = container(
        json!({"running": {"startedAt": ago(seconds + 600)}}),
        json!({}),
        0,
    );
    status["phase"] = json!("Running");
    status["conditions"] = json!([{"type": "Ready", "status": "False",
        "lastTransitionTime": ago(seconds), "reason": "ContainersNotReady",
        "message": "containers with unready status: [function]"}]);
    status
}

#[tokio::test]
async fn a_readiness_probe_that_fails_while_the_container_runs() {
    let world = on_trial().await;
    world.replicas("hello-00001", 1, 1).await;
    world.ready("hello").await;
    world.replicas("hello-00001", 1, 0).await;
    world.pod("hello-00001", unready_for(3600)).await;
    let message = world
        .condition("hello", conditions::READY, ("False", "ProbeFailed"))
        .await;
    assert!(
        message.contains("the readiness probe of the function fails")
            && message.contains("containers with unready status: [function]"),
        "{message}"
    );
    world
        .condition("hello", conditions::ACTIVE, ("False", "ProbeFailed"))
        .await;
    // It keeps the traffic: there is nothing else.
    world.serves("hello", "hello-00001").await;
    world.delete::<Pod>("hello-00001-pod").await;
    mended(world).await;
}

#[tokio::test]
async fn a_probe_that_fails_for_a_moment_is_told_when_the_moment_lasts() {
    let world = on_trial().await;
    world.replicas("hello-00001", 1, 1).await;
    world.ready("hello").await;
    world.pod("hello-00001", unready_for(27)).await;
    world.replicas("hello-00001", 1, 0).await;
    world
        .condition("hello", conditions::ACTIVE, ("Unknown", "Starting"))
        .await;
    world.ready("hello").await;
    // Nothing happens any more but that time passes.
    world
        .condition("hello", conditions::READY, ("False", "ProbeFailed"))
        .await;
    world.delete::<Pod>("hello-00001-pod").await;
    mended(world).await;
}

#[tokio::test]
async fn a_spec_that_the_crd_cannot_check() {
    let world = World::start().await;
    world
        .apply(
            "hello",
            "{ image: a, timeouts: { request: 1s, firstByte: 2s }, scale: { initial: 0 } }",
        )
        .await;
    let message = world
        .condition("hello", conditions::READY, ("False", "InvalidSpec"))
        .await;
    assert!(message.contains("timeouts.firstByte"), "{message}");
    world
        .apply("hello", "{ image: a, scale: { initial: 0 } }")
        .await;
    world.ready("hello").await;
    world.end().await;
}

#[tokio::test]
async fn a_failure_while_serving_is_told_and_cleared() {
    let world = on_trial().await;
    world.replicas("hello-00001", 1, 1).await;
    world.ready("hello").await;
    world.scale("hello-00001", 0).await;
    world.replicas("hello-00001", 0, 0).await;
    world
        .condition("hello", conditions::ACTIVE, ("False", "AtZero"))
        .await;
    world.scale("hello-00001", 1).await;
    world
        .pod("hello-00001", waiting("ErrImagePull", "gone"))
        .await;
    world
        .condition("hello", conditions::READY, ("False", "ImagePullFailed"))
        .await;
    world.serves("hello", "hello-00001").await;
    world.delete::<Pod>("hello-00001-pod").await;
    mended(world).await;
}

#[tokio::test]
async fn children_the_cluster_refuses() {
    let world = World::start().await;
    let sentence = "exceeded quota: q, requested: count/deployments.apps=1";
    world.refuse("/deployments/", 403, "Forbidden", sentence);
    world
        .apply("hello", "{ image: a, scale: { initial: 0 } }")
        .await;
    let message = world
        .condition("hello", conditions::READY, ("False", "QuotaExceeded"))
        .await;
    assert!(message.contains(sentence), "{message}");
    world.allow();
    // Anything that happens to the Revision has it tried again.
    let label = kube::api::Patch::Merge(json!({"metadata": {"labels": {"again": "now"}}}));
    let api = world.api::<fermata_crds::Revision>();
    let patched = api.patch("hello-00001", &Default::default(), &label).await;
    patched.expect("a label");
    world.ready("hello").await;

    world.refuse(
        "/revisions/",
        422,
        "Invalid",
        "spec.template.image: not from here",
    );
    world
        .apply("hello", "{ image: b, scale: { initial: 0 } }")
        .await;
    let message = world
        .condition("hello", conditions::READY, ("False", "Refused"))
        .await;
    assert!(
        message.contains("not from here; hello-00001 keeps the traffic"),
        "{message}"
    );
    world.serves("hello", "hello-00001").await;
    world.end().await;
}

#[tokio::test]
async fn an_api_server_that_fails_for_a_while() {
    let world = World::start().await;
    world.refuse(
        "/default/",
        500,
        "InternalError",
        "etcdserver: request timed out",
    );
    world
        .apply("hello", "{ image: a, scale: { initial: 0 } }")
        .await;
    while world.writes().len() < 3 {
        tokio::task::yield_now().await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    world.allow();
    world.ready("hello").await;
    world.end().await;
}

#[tokio::test]
async fn each_change_is_one_event() {
    let world = on_trial().await;
    world
        .pod("hello-00001", waiting("ErrImagePull", "manifest unknown"))
        .await;
    world
        .condition("hello", conditions::READY, ("False", "ImagePullFailed"))
        .await;
    world.delete::<Pod>("hello-00001-pod").await;
    world.replicas("hello-00001", 1, 1).await;
    world.ready("hello").await;
    world.settled().await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    let mut reasons: Vec<String> = Vec::new();
    while reasons.len() < 3 && tokio::time::Instant::now() < deadline {
        let events = world
            .api::<Event>()
            .list(&Default::default())
            .await
            .expect("events");
        reasons = events
            .into_iter()
            .filter(|event| {
                let about = event.regarding.as_ref();
                about.and_then(|about| about.name.as_deref()) == Some("hello")
            })
            .filter_map(|event| event.reason)
            .collect();
        reasons.sort();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(
        reasons,
        ["ImagePullFailed", "RevisionCreated", "RevisionReady"]
    );
    world.end().await;
}
