//! A Function becomes a Revision, a Deployment and a Service.

use fermata_crds::{Function, Revision, conditions};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn an_image_function_gets_its_children_and_becomes_ready() {
    let world = World::start().await;
    let function = world
        .apply("hello", "{ image: example.com/a:1, scale: { max: 3 } }")
        .await;

    let revision = world
        .until::<Revision>("hello-00001", "there", |_| true)
        .await;
    assert_eq!(revision.spec.function_name, "hello");
    assert_eq!(
        revision.metadata.owner_references.unwrap()[0].uid,
        function.metadata.uid.unwrap()
    );
    let deployment = world
        .until::<Deployment>("hello-00001", "there", |_| true)
        .await;
    let spec = deployment.spec.unwrap();
    assert_eq!(spec.replicas, Some(1));
    assert_eq!(
        deployment.metadata.owner_references.unwrap()[0].uid,
        revision.metadata.uid.unwrap()
    );
    let service = world.until::<Service>("hello", "there", |_| true).await;
    assert_eq!(
        service.spec.unwrap().external_name.as_deref(),
        Some("fermata-gateway-internal.fermata-system.svc.cluster.local")
    );

    world
        .condition("hello", conditions::READY, ("Unknown", "Deploying"))
        .await;
    world.replicas("hello-00001", 1, 0).await;
    world.replicas("hello-00001", 1, 1).await;
    world.ready("hello").await;
    let function = world.serves("hello", "hello-00001").await;
    let status = function.status.unwrap();
    assert_eq!(
        status.url.as_deref(),
        Some("http://hello.default.localhost")
    );
    assert_eq!(
        status.latest_created_revision.as_deref(),
        Some("hello-00001")
    );
    assert_eq!(status.latest_ready_revision.as_deref(), Some("hello-00001"));
    world
        .condition("hello", conditions::ACTIVE, ("True", "Running"))
        .await;
    world.end().await;
}

#[tokio::test]
async fn the_gateway_can_know_a_revision_before_its_deployment_has_replicas() {
    let world = World::start().await;
    world.apply("hello", "{ image: example.com/a:1 }").await;
    world
        .until::<Deployment>("hello-00001", "there", |_| true)
        .await;
    let writes = world.writes();
    let place = |part: &str| writes.iter().position(|line| line.contains(part)).unwrap();
    assert!(
        place("functions/hello/status") < place("deployments/hello-00001"),
        "{writes:#?}"
    );
    world.end().await;
}

#[tokio::test]
async fn a_function_that_starts_at_zero_is_ready_at_once() {
    let world = World::start().await;
    world
        .apply("hello", "{ image: example.com/a:1, scale: { initial: 0 } }")
        .await;
    world.ready("hello").await;
    let message = world
        .condition("hello", conditions::ACTIVE, ("False", "AtZero"))
        .await;
    assert_eq!(message, "Resting at zero; the next request wakes it");
    let deployment = world
        .until::<Deployment>("hello-00001", "there", |_| true)
        .await;
    assert_eq!(deployment.spec.unwrap().replicas, Some(0));
    world.serves("hello", "hello-00001").await;
    assert!(world.writes().len() <= 5, "{:#?}", world.writes());
    world.end().await;
}

#[tokio::test]
async fn a_function_that_is_deleted_is_left_to_its_owner_references() {
    let world = World::start().await;
    world
        .apply("hello", "{ image: example.com/a:1, scale: { initial: 0 } }")
        .await;
    world.ready("hello").await;
    world.delete::<Function>("hello").await;
    world.until_gone::<Function>("hello").await;
    world.settled().await;
    let writes = world.writes();
    assert!(
        !writes.iter().any(|line| line.starts_with("DELETE")),
        "{writes:#?}"
    );

    // Another one of the name starts afresh beside what is still there, and takes nothing over.
    world
        .apply("hello", "{ image: example.com/a:1, scale: { initial: 0 } }")
        .await;
    world
        .until::<Revision>("hello-00002", "there", |_| true)
        .await;
    world
        .condition("hello", conditions::ROUTABLE, ("False", "ServiceConflict"))
        .await;
    world.delete::<Service>("hello").await;
    world.ready("hello").await;
    world.end().await;
}

#[tokio::test]
async fn what_the_gateway_says_in_the_status_stays() {
    let world = World::start().await;
    world
        .apply("hello", "{ image: example.com/a:1, scale: { initial: 0 } }")
        .await;
    world.ready("hello").await;
    let cold_start = json!({"apiVersion": "fermata.dev/v1alpha1", "kind": "Function",
        "status": {"lastColdStart": {"time": "2026-01-01T00:00:00Z", "duration": "20ms",
            "revision": "hello-00001"}}});
    let parameters = kube::api::PatchParams::apply("fermata-gateway").force();
    let patch = kube::api::Patch::Apply(cold_start);
    let patched = world
        .api::<Function>()
        .patch_status("hello", &parameters, &patch)
        .await;
    patched.expect("a patched status");

    world.scale("hello-00001", 1).await;
    world.replicas("hello-00001", 1, 1).await;
    world
        .condition("hello", conditions::ACTIVE, ("True", "Running"))
        .await;
    let function = world.until::<Function>("hello", "there", |_| true).await;
    assert!(function.status.unwrap().last_cold_start.is_some());
    world.end().await;
}
