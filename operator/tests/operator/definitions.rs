//! Definitions that the operator's program brings up to date.

use fermata_crds::Function;
use fermata_operator::apply_definitions;
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::{robust::lenient_kinds, world::World};

#[tokio::test]
async fn definitions_become_those_of_this_version_and_objects_stay() {
    let world = World::with_kinds(lenient_kinds()).await;
    let functions: Api<Function> = world.api();
    let bad = |name: &str| -> Function {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {}})).expect("a Function")
    };
    let created = functions.create(&PostParams::default(), &bad("old")).await;
    created.expect("the old definition takes everything");
    for _ in 0..2 {
        apply_definitions(world.client.clone())
            .await
            .expect("applied");
    }
    let refused = functions.create(&PostParams::default(), &bad("new")).await;
    let refused = refused.expect_err("the new one has rules").to_string();
    assert!(refused.contains("image"), "{refused}");
    functions.get("old").await.expect("it is still there");
    world.end().await;
}

#[tokio::test]
async fn definitions_that_are_not_there_are_made() {
    let world = World::with_kinds(Vec::new()).await;
    apply_definitions(world.client.clone())
        .await
        .expect("applied");
    let functions: Api<Function> = world.api();
    functions
        .list(&Default::default())
        .await
        .expect("it is served");
    world.end().await;
}
