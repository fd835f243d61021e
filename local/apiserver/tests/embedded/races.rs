//! Writers that are at the same object at once.

use std::future::Future;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    requests::{call, typed},
    support::server,
};

const MAPS: &str = "/api/v1/namespaces/~/configmaps";

/// Fewer than the times that a write is tried: each try that fails is one that another writer has won.
const WRITERS: usize = 6;

/// The codes of the answers to requests that are made at once, in order.
async fn at_once<F>(request: impl Fn(usize) -> F) -> Vec<u16>
where
    F: Future<Output = (u16, Value)> + Send + 'static,
{
    let mut all = JoinSet::new();
    for n in 0..WRITERS {
        all.spawn(request(n));
    }
    let mut codes: Vec<u16> = all.join_all().await.iter().map(|(code, _)| *code).collect();
    codes.sort_unstable();
    codes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_apply_what_is_not_there_one_creates_it_and_nobody_is_lost() {
    let (server, client) = server().await;
    let codes = at_once(|n| {
        let client = client.clone();
        async move {
            let path = format!("{MAPS}/a?fieldManager=m{n}");
            let config =
                json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {format!("k{n}"): "v"}});
            typed(
                &client,
                "PATCH",
                &path,
                "application/apply-patch+yaml",
                config,
            )
            .await
        }
    })
    .await;
    assert_eq!(codes, [200, 200, 200, 200, 200, 201]);
    let (_, map) = call(&client, "GET", &format!("{MAPS}/a"), Value::Null).await;
    assert_eq!(
        map["data"].as_object().map(|data| data.len()),
        Some(WRITERS)
    );
    let managers = map["metadata"]["managedFields"].as_array().map(Vec::len);
    assert_eq!(managers, Some(WRITERS));
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_create_a_name_one_does_and_generated_names_are_all_different() {
    let (server, client) = server().await;
    let codes = at_once(|_| {
        let client = client.clone();
        async move { call(&client, "POST", MAPS, json!({"metadata": {"name": "a"}})).await }
    })
    .await;
    assert_eq!(codes, [201, 409, 409, 409, 409, 409]);
    let codes = at_once(|_| {
        let client = client.clone();
        async move {
            call(
                &client,
                "POST",
                MAPS,
                json!({"metadata": {"generateName": "g-"}}),
            )
            .await
        }
    })
    .await;
    assert_eq!(codes, [201; WRITERS]);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patches_of_one_object_are_all_made_and_one_deletion_wins() {
    let (server, client) = server().await;
    call(&client, "POST", MAPS, json!({"metadata": {"name": "a"}})).await;
    let path = format!("{MAPS}/a");
    let codes = at_once(|n| {
        let (client, path) = (client.clone(), path.clone());
        async move {
            call(
                &client,
                "PATCH",
                &path,
                json!({"data": {format!("k{n}"): "v"}}),
            )
            .await
        }
    })
    .await;
    assert_eq!(codes, [200; WRITERS]);
    let (_, map) = call(&client, "GET", &path, Value::Null).await;
    assert_eq!(
        map["data"].as_object().map(|data| data.len()),
        Some(WRITERS)
    );
    let codes = at_once(|_| {
        let (client, path) = (client.clone(), path.clone());
        async move { call(&client, "DELETE", &path, Value::Null).await }
    })
    .await;
    assert_eq!(codes, [200, 404, 404, 404, 404, 404]);
    server.shutdown().await;
}
