//! What a deletion without its children leaves behind (`kubectl delete --cascade=orphan`), and who may
//! take it over.

use std::fmt::Debug;

use fermata_crds::{Function, Revision, conditions};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service},
    },
};
use kube::{
    Resource, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::{World, revisions};

const SOURCE: &str = "
source: { runtime: python, files: { main.py: 'x = 1' } }
scale: { initial: 0 }
";

async fn edit<K>(world: &World, name: &str, patch: Value) -> K
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let (api, parameters) = (world.api::<K>(), PatchParams::default());
    let patched = api.patch(name, &parameters, &Patch::Merge(patch)).await;
    patched.expect("an edited object")
}

/// Plays the garbage collector, which takes the owner away from what is left behind.
async fn orphan<K>(world: &World, name: &str) -> K
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    edit(world, name, json!({"metadata": {"ownerReferences": null}})).await
}

/// Waits until the object belongs to the owner, and says that it is the same object as before.
async fn adopted<K>(world: &World, before: &K, owner: &str)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let after = world
        .until::<K>(&before.name_any(), "taken over", |object| {
            let mut owners = object.owner_references().iter();
            owners.any(|reference| reference.uid == owner && reference.controller == Some(true))
        })
        .await;
    assert_eq!(after.uid(), before.uid());
}

#[tokio::test]
async fn a_function_that_is_applied_again_takes_over_what_it_left() {
    let world = World::start().await;
    world.create_runtime().await;
    world.apply("hello", SOURCE).await;
    world.ready("hello").await;
    world.delete::<Function>("hello").await;
    let revision = orphan::<Revision>(&world, "hello-00001").await;
    let service = orphan::<Service>(&world, "hello").await;
    let deployment = world
        .until::<Deployment>("hello-00001", "there", |_| true)
        .await;

    let again = world.apply("hello", SOURCE).await.uid().unwrap();
    world.serves("hello", "hello-00001").await;
    world.ready("hello").await;
    adopted(&world, &revision, &again).await;
    adopted(&world, &service, &again).await;
    adopted(&world, &deployment, &revision.uid().unwrap()).await;
    assert_eq!(revisions(&world, "hello").await, ["hello-00001"]);
    world.end().await;
}

#[tokio::test]
async fn a_revision_that_is_made_again_takes_over_its_children() {
    let world = World::start().await;
    world.create_runtime().await;
    world.apply("hello", SOURCE).await;
    world.ready("hello").await;
    world.delete::<Function>("hello").await;
    world.delete::<Revision>("hello-00001").await;
    orphan::<Service>(&world, "hello").await;
    let deployment = orphan::<Deployment>(&world, "hello-00001").await;
    let config_map = orphan::<ConfigMap>(&world, "hello-00001").await;
    world.scale("hello-00001", 3).await;

    world.apply("hello", SOURCE).await;
    let revision = world
        .until::<Revision>("hello-00001", "there", |_| true)
        .await;
    let owner = revision.uid().unwrap();
    adopted(&world, &config_map, &owner).await;
    adopted(&world, &deployment, &owner).await;
    let deployment = world
        .until::<Deployment>("hello-00001", "there", |_| true)
        .await;
    assert_eq!(deployment.spec.unwrap().replicas, Some(3));
    world.end().await;
}

#[tokio::test]
async fn source_of_another_revision_is_not_taken_for_its_own() {
    let world = World::start().await;
    world.create_runtime().await;
    world.apply("hello", SOURCE).await;
    world.ready("hello").await;
    world.delete::<Function>("hello").await;
    world.delete::<Revision>("hello-00001").await;
    orphan::<Service>(&world, "hello").await;
    orphan::<Deployment>(&world, "hello-00001").await;
    orphan::<ConfigMap>(&world, "hello-00001").await;

    world
        .apply("hello", &SOURCE.replace("x = 1", "x = 2"))
        .await;
    let message = world
        .condition("hello", conditions::READY, ("False", "ConfigMapConflict"))
        .await;
    assert!(
        message.contains("ConfigMap hello-00001") && message.contains("delete it"),
        "{message}"
    );
    world.delete::<ConfigMap>("hello-00001").await;
    world.ready("hello").await;
    let config_map = world
        .until::<ConfigMap>("hello-00001", "there", |_| true)
        .await;
    assert_eq!(config_map.data.unwrap()["main.py"], "x = 2");
    world.end().await;
}

#[tokio::test]
async fn nothing_of_what_was_put_into_an_orphan_is_taken_over() {
    let world = World::without_operator().await;
    world.create_runtime().await;
    let labels =
        json!({"app.kubernetes.io/managed-by": "fermata", "fermata.dev/function": "hello"});
    world
        .create::<Service>(
            json!({"metadata": {"name": "hello", "labels": labels}, "spec": {
            "type": "ExternalName", "externalName": "x.example", "externalIPs": ["192.0.2.1"]}}),
        )
        .await;
    let mut labels = labels;
    labels["fermata.dev/revision"] = json!("hello-00001");
    let selector = json!({"fermata.dev/revision": "hello-00001"});
    world
        .create::<Deployment>(json!({
            "metadata": {"name": "hello-00001", "labels": labels},
            "spec": {
                "replicas": 2, "selector": {"matchLabels": selector},
                "template": {"metadata": {"labels": selector}, "spec": {
                    "hostNetwork": true,
                    "containers": [{"name": "planted", "image": "b"}]}},
            },
        }))
        .await;
    let files = json!({"main.py": "x = 1", "sitecustomize.py": "planted"});
    world
        .create::<ConfigMap>(
            json!({"metadata": {"name": "hello-00001", "labels": labels},
            "data": files}),
        )
        .await;

    let mut world = world;
    world.start_operator(fermata_operator::Options::default());
    world.apply("hello", SOURCE).await;
    let message = world
        .condition("hello", conditions::READY, ("False", "ConfigMapConflict"))
        .await;
    assert!(message.contains("it holds other files"), "{message}");
    world.delete::<ConfigMap>("hello-00001").await;

    let deployment = world
        .until::<Deployment>("hello-00001", "taken over", |deployment| {
            !deployment.owner_references().is_empty()
        })
        .await;
    let spec = deployment.spec.unwrap();
    assert_eq!(spec.replicas, Some(2));
    let pod = spec.template.spec.unwrap();
    assert_eq!(pod.host_network, None);
    let names: Vec<_> = pod
        .containers
        .iter()
        .map(|container| &*container.name)
        .collect();
    assert_eq!(names, ["function"]);
    let service = world
        .until::<Service>("hello", "taken over", |service| {
            !service.owner_references().is_empty()
        })
        .await;
    assert_eq!(service.spec.unwrap().external_ips, None);
    // What was wrong is mended, and no longer told.
    world
        .condition("hello", conditions::READY, ("Unknown", "Deploying"))
        .await;
    world.end().await;
}

#[tokio::test]
async fn what_lacks_a_label_or_carries_anothers_stays_foreign() {
    let world = World::start().await;
    let labels =
        json!({"app.kubernetes.io/managed-by": "fermata", "fermata.dev/function": "hello"});
    let foreign = json!({"metadata": {"name": "hello", "labels": {"fermata.dev/function": "hello"}},
        "spec": {"type": "ExternalName", "externalName": "x.example"}});
    let service = world.create::<Service>(foreign).await;
    let deployment = json!({"metadata": {"name": "hello-00001", "labels": labels}, "spec": {
        "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}},
            "spec": {"containers": [{"name": "c", "image": "b"}]}}}});
    let deployment = world.create::<Deployment>(deployment).await;
    world
        .apply("hello", "{ image: a, scale: { initial: 0 } }")
        .await;
    world
        .condition("hello", conditions::ROUTABLE, ("False", "ServiceConflict"))
        .await;
    world
        .condition(
            "hello",
            conditions::REVISION_READY,
            ("False", "DeploymentConflict"),
        )
        .await;
    world.settled().await;
    let same = world.until::<Service>("hello", "there", |_| true).await;
    assert_eq!(same.resource_version(), service.resource_version());
    let same = world
        .until::<Deployment>("hello-00001", "there", |_| true)
        .await;
    assert_eq!(same.resource_version(), deployment.resource_version());

    // With the last label, the Service is the Function's own.
    edit::<Service>(&world, "hello", json!({"metadata": {"labels": labels}})).await;
    world
        .condition("hello", conditions::ROUTABLE, ("Unknown", "NoTraffic"))
        .await;
    world.end().await;
}
