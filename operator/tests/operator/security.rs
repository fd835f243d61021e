//! What a function's pods may do on their node.

use fermata_crds::{Function, Revision, conditions};
use fermata_operator::Options;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;

use crate::world::{World, revisions};

const HOST: &str = "{ image: example.com/a:2, scale: { initial: 0 }, podTemplate: { spec: { hostNetwork: true } } }";

#[tokio::test]
async fn a_pod_beyond_the_profile_is_never_made_and_the_revision_before_it_keeps_the_traffic() {
    let world = World::start().await;
    world.apply("fresh", HOST).await;
    let message = world
        .condition(
            "fresh",
            conditions::READY,
            ("False", "PodSecurityViolation"),
        )
        .await;
    assert!(message.contains("hostNetwork=true"), "{message}");
    assert!(revisions(&world, "fresh").await.is_empty());

    world
        .apply("hello", "{ image: example.com/a:1, scale: { initial: 0 } }")
        .await;
    world.ready("hello").await;
    world.apply("hello", HOST).await;
    let message = world
        .condition(
            "hello",
            conditions::REVISION_READY,
            ("False", "PodSecurityViolation"),
        )
        .await;
    assert!(
        message.ends_with("hello-00001 keeps the traffic"),
        "{message}"
    );
    world.serves("hello", "hello-00001").await;
    assert_eq!(revisions(&world, "hello").await, ["hello-00001"]);
    world.end().await;
}

/// A Revision may be older than the rule, or made by somebody who may make Revisions.
#[tokio::test]
async fn a_revision_beyond_its_profile_gets_no_deployment() {
    let world = World::start().await;
    let function = world
        .apply("hello", "{ image: example.com/a:1, scale: { initial: 0 } }")
        .await;
    world.ready("hello").await;
    world
        .create::<Revision>(json!({
            "apiVersion": "fermata.dev/v1alpha1", "kind": "Revision",
            "metadata": {"name": "hello-00009", "ownerReferences": [{
                "apiVersion": "fermata.dev/v1alpha1", "kind": "Function", "name": "hello",
                "uid": function.metadata.uid, "controller": true}]},
            "spec": {"functionName": "hello", "scale": {"initial": 0}, "template": {
                "image": "a", "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}},
        }))
        .await;
    let revision = world
        .until::<Revision>("hello-00009", "refused", |revision| {
            let status = revision.status.as_ref();
            let ready =
                status.and_then(|status| conditions::find(&status.conditions, conditions::READY));
            ready.is_some_and(|ready| {
                ready.status == "False" && ready.reason == "PodSecurityViolation"
            })
        })
        .await;
    assert!(!revision.status.unwrap().has_been_ready);
    world.settled().await;
    let deployments = world.api::<Deployment>();
    assert!(deployments.get_opt("hello-00009").await.unwrap().is_none());
    assert!(
        !world
            .writes()
            .iter()
            .any(|line| line.ends_with("deployments/hello-00009")),
        "{:#?}",
        world.writes()
    );
    world.end().await;
}

#[tokio::test]
async fn the_profile_privileged_is_for_installations_that_allow_it() {
    let mut world = World::without_operator().await;
    let privileged = HOST.replace("image:", "security: { profile: privileged }, image:");
    world.start_operator(Options::default());
    world.apply("hello", &privileged).await;
    let message = world
        .condition(
            "hello",
            conditions::READY,
            ("False", "PodSecurityViolation"),
        )
        .await;
    assert!(message.contains("security.allowPrivileged"), "{message}");
    world.stop_operator().await;

    world.start_operator(Options {
        allow_privileged: true,
        ..Options::default()
    });
    world.ready("hello").await;
    let deployment = world
        .until::<Deployment>("hello-00001", "there", |_| true)
        .await;
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.host_network, Some(true));
    world.stop_operator().await;

    // Taken back: what is there is left as it is, and says so.
    world.start_operator(Options::default());
    world
        .condition(
            "hello",
            conditions::READY,
            ("False", "PodSecurityViolation"),
        )
        .await;
    world
        .until::<Deployment>("hello-00001", "there", |_| true)
        .await;
    world.until::<Function>("hello", "there", |_| true).await;
    world.end().await;
}
