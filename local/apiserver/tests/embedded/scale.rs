//! Ten thousand objects.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ListParams, PostParams},
    runtime::{WatchStreamExt as _, reflector, watcher},
};
use serde_json::json;

use crate::{requests::eventually, support::server};

const OBJECTS: usize = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_objects_are_created_listed_and_reflected() {
    let (server, client) = server().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let (reader, writer) = reflector::store();
    let reflect = reflector(writer, watcher(api.clone(), watcher::Config::default()))
        .default_backoff()
        .touched_objects()
        .for_each(|_| std::future::ready(()));
    let reflect = tokio::spawn(reflect);
    stream::iter(0..OBJECTS)
        .map(|n| {
            let api = api.clone();
            async move {
                let new = json!({"metadata": {"name": format!("c{n:05}"), "labels": {"n": n.to_string()}}, "data": {"a": "b"}});
                let new = serde_json::from_value(new).unwrap();
                api.create(&PostParams::default(), &new).await.map(drop)
            }
        })
        .buffer_unordered(32)
        .try_collect::<()>()
        .await
        .unwrap();
    let pages = async {
        let mut seen = 0;
        let mut params = ListParams::default().limit(500);
        loop {
            let page = api.list(&params).await.unwrap();
            seen += page.items.len();
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return seen,
            }
        }
    };
    assert_eq!(pages.await, OBJECTS);
    assert_eq!(
        api.list(&ListParams::default()).await.unwrap().items.len(),
        OBJECTS
    );
    let one = api
        .list(&ListParams::default().labels("n=77"))
        .await
        .unwrap();
    assert_eq!(one.items.len(), 1);
    eventually("the reflector to have all", async || {
        (reader.state().len() == OBJECTS).then_some(())
    })
    .await;
    reflect.abort();
    server.shutdown().await;
}
