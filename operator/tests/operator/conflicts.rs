//! What belongs to somebody else.

use fermata_crds::{Function, conditions};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use serde_json::json;

use crate::world::World;

const HOST: &str = "{ image: a, scale: { initial: 0 }, expose: { hosts: [Shop.example] } }";

#[tokio::test]
async fn the_older_function_has_the_host_and_the_other_gets_it_when_that_goes() {
    let world = World::start().await;
    world.apply("a-first", HOST).await;
    world.ready("a-first").await;
    world.apply("b-second", HOST).await;
    let message = world
        .condition("b-second", conditions::ROUTABLE, ("False", "RouteConflict"))
        .await;
    assert!(message.contains("host shop.example"), "{message}");
    assert!(message.contains("default/a-first"), "{message}");
    world
        .condition("b-second", conditions::READY, ("False", "RouteConflict"))
        .await;
    let first = world
        .serves("a-first", "a-first-00001")
        .await
        .status
        .unwrap();
    assert_eq!(first.url.as_deref(), Some("http://shop.example"));
    let second = world
        .serves("b-second", "b-second-00001")
        .await
        .status
        .unwrap();
    assert_eq!(
        second.url.as_deref(),
        Some("http://b-second.default.localhost")
    );

    world.delete::<Function>("a-first").await;
    world.ready("b-second").await;
    world
        .until::<Function>("b-second", "at its host", |function| {
            let status = function.status.as_ref();
            status.and_then(|status| status.url.as_deref()) == Some("http://shop.example")
        })
        .await;
    world.end().await;
}

#[tokio::test]
async fn somebody_elses_service_is_never_touched() {
    let world = World::start().await;
    let foreign = json!({"metadata": {"name": "hello", "labels": {"whose": "theirs"}},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "x"}}});
    let before = world.create::<Service>(foreign).await;
    world
        .apply("hello", "{ image: a, scale: { initial: 0 } }")
        .await;
    let message = world
        .condition("hello", conditions::READY, ("False", "ServiceConflict"))
        .await;
    assert!(
        message.contains("a Service named hello is there already"),
        "{message}"
    );
    world.serves("hello", "hello-00001").await;
    let after = world.until::<Service>("hello", "there", |_| true).await;
    assert_eq!(
        before.metadata.resource_version,
        after.metadata.resource_version
    );

    world.delete::<Service>("hello").await;
    world.ready("hello").await;
    world.end().await;
}

#[tokio::test]
async fn somebody_elses_deployment_is_never_touched() {
    let world = World::start().await;
    let labels = json!({"app": "x"});
    let foreign = json!({"metadata": {"name": "hello-00001"}, "spec": {
        "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "b"}]}}}});
    let before = world.create::<Deployment>(foreign).await;
    world
        .apply("hello", "{ image: a, scale: { initial: 0 } }")
        .await;
    let message = world
        .condition("hello", conditions::READY, ("False", "DeploymentConflict"))
        .await;
    assert!(
        message.contains("a Deployment named hello-00001"),
        "{message}"
    );
    let after = world
        .until::<Deployment>("hello-00001", "there", |_| true)
        .await;
    assert_eq!(
        before.metadata.resource_version,
        after.metadata.resource_version
    );
    world.end().await;
}
