//! An operator for some namespaces only.

use fermata_crds::Function;
use fermata_operator::Options;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};
use serde_json::{from_value, json};

use crate::world::World;

#[tokio::test]
async fn only_the_named_namespaces_are_worked_for_and_read() {
    let mut world = World::without_operator().await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let other = from_value(json!({"metadata": {"name": "other"}})).expect("a namespace");
    namespaces
        .create(&PostParams::default(), &other)
        .await
        .expect("created");
    let elsewhere: Api<Function> = Api::namespaced(world.client.clone(), "other");
    let function = json!({
        "apiVersion": "fermata.dev/v1alpha1", "kind": "Function",
        "metadata": {"name": "stranger"}, "spec": {"image": "a", "scale": {"initial": 0}},
    });
    let function: Function = from_value(function).expect("a Function");
    elsewhere
        .create(&PostParams::default(), &function)
        .await
        .expect("created");

    world.start_operator(Options {
        watch_namespaces: vec!["default".to_owned(), "not-there".to_owned()],
        ..Options::default()
    });
    world
        .apply("hello", "{ image: a, scale: { initial: 0 } }")
        .await;
    world.ready("hello").await;
    world.settled().await;
    let stranger = elsewhere.get("stranger").await.expect("it is there");
    assert_eq!(stranger.status, None);
    let group = "/apis/fermata.dev/v1alpha1";
    assert_eq!(world.reads(&format!("{group}/functions")), 0);
    assert!(world.reads(&format!("{group}/namespaces/default/functions")) > 0);
    assert!(world.reads(&format!("{group}/runtimes")) > 0);
    world.end().await;
}
