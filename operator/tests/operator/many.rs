//! Many Functions at once.

use std::collections::BTreeMap;

use fermata_crds::{Function, conditions};
use futures::{StreamExt as _, stream};

use crate::world::World;

const MANY: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_functions_costs_few_writes() {
    let world = World::start().await;
    world.create_runtime().await;
    let world = &world;
    stream::iter(0..MANY)
        .for_each_concurrent(32, |number| async move {
            let spec =
                "{ source: { runtime: python, files: { main.py: a } }, scale: { initial: 0 } }";
            world.apply(&format!("f{number}"), spec).await;
        })
        .await;
    for number in 0..MANY {
        world.ready(&format!("f{number}")).await;
    }
    world.settled().await;
    let mut written: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in world.writes() {
        let name = line
            .split('/')
            .map(|part| part.split_once("-0").map_or(part, |(name, _)| name))
            .find(|part| part.starts_with('f') && part[1..].parse::<usize>().is_ok());
        if let Some(name) = name {
            written.entry(name.to_owned()).or_default().push(line);
        }
    }
    assert_eq!(written.len(), MANY);
    let most = written.values().max_by_key(|lines| lines.len()).unwrap();
    assert!(most.len() <= 6, "{most:#?}");

    let functions = world
        .api::<Function>()
        .list(&Default::default())
        .await
        .expect("a list");
    let ready = functions.into_iter().filter(|function| {
        let status = function.status.as_ref();
        status.is_some_and(|status| conditions::is_true(&status.conditions, conditions::READY))
    });
    assert!(ready.count() >= MANY);
}
