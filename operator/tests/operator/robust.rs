//! Odd objects and odd clusters.

use fermata_crds::{Function, conditions};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::json;

use crate::world::World;

/// The kinds, with a Function schema that lets everything in, as an older release's might.
pub(crate) fn lenient_kinds() -> Vec<CustomResourceDefinition> {
    let mut kinds = fermata_crds::crd::all();
    let function = kinds
        .iter_mut()
        .find(|kind| kind.spec.names.kind == "Function")
        .unwrap();
    for version in &mut function.spec.versions {
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
        let schema = serde_json::from_value(schema).expect("a schema");
        version.schema.get_or_insert_default().open_api_v3_schema = Some(schema);
    }
    kinds
}

#[tokio::test]
async fn a_function_that_cannot_be_read_stops_no_other() {
    let mut world = World::with_kinds(lenient_kinds()).await;
    let kind = GroupVersionKind::gvk("fermata.dev", "v1alpha1", "Function");
    let resource = ApiResource::from_gvk(&kind);
    let functions: Api<DynamicObject> =
        Api::default_namespaced_with(world.client.clone(), &resource);
    let bad = |name: &str| -> DynamicObject {
        serde_json::from_value(
            json!({"apiVersion": "fermata.dev/v1alpha1", "kind": "Function",
            "metadata": {"name": name}, "spec": {"image": "a", "port": "eighty"}}),
        )
        .expect("an object")
    };
    functions
        .create(&PostParams::default(), &bad("early"))
        .await
        .expect("created");
    world.start_operator(fermata_operator::Options::default());
    world
        .apply("good", "{ image: a, scale: { initial: 0 } }")
        .await;
    world.ready("good").await;
    functions
        .create(&PostParams::default(), &bad("late"))
        .await
        .expect("created");
    for name in ["early", "late"] {
        let told = loop {
            let object = functions.get(name).await.expect("the object");
            let told = object.data["status"]["conditions"][0].clone();
            if !told.is_null() {
                break told;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        assert_eq!(told["type"], "Ready", "{told}");
        assert_eq!(told["status"], "False", "{told}");
        assert_eq!(told["reason"], "Unreadable", "{told}");
        let message = told["message"].as_str().expect("a message");
        assert!(message.contains("eighty"), "{message}");
    }
    functions
        .delete("early", &Default::default())
        .await
        .expect("deleted");
    world
        .apply("better", "{ image: a, scale: { initial: 0 } }")
        .await;
    world.ready("better").await;

    // As soon as it can be read, it is taken care of.
    functions
        .delete("late", &Default::default())
        .await
        .expect("deleted");
    world
        .apply("late", "{ image: a, scale: { initial: 0 } }")
        .await;
    world.ready("late").await;
    world.end().await;
}

#[tokio::test]
async fn an_operator_that_comes_before_its_kinds_waits_for_them() {
    let mut world = World::with_kinds(Vec::new()).await;
    world.start_operator(fermata_operator::Options::default());
    let kinds: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    for kind in fermata_crds::crd::all() {
        kinds
            .create(&PostParams::default(), &kind)
            .await
            .expect("a kind");
    }
    let functions = world.api::<Function>();
    while functions.list(&Default::default()).await.is_err() {
        tokio::task::yield_now().await;
    }
    world
        .apply("hello", "{ image: a, scale: { initial: 0 } }")
        .await;
    world.ready("hello").await;
    world.end().await;
}

#[tokio::test]
async fn a_function_changed_while_the_operator_was_down_is_caught_up_with() {
    let mut world = World::start().await;
    world
        .apply("hello", "{ image: example.com/a:1, scale: { initial: 0 } }")
        .await;
    world.ready("hello").await;
    world.stop_operator().await;
    world
        .apply("hello", "{ image: example.com/a:2, scale: { initial: 0 } }")
        .await;
    world
        .delete::<k8s_openapi::api::core::v1::Service>("hello")
        .await;
    world.start_operator(fermata_operator::Options::default());
    world.serves("hello", "hello-00002").await;
    world.ready("hello").await;
    world
        .condition("hello", conditions::ROUTABLE, ("True", "Routed"))
        .await;
    world.end().await;
}
