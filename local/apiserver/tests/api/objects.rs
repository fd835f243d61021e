//! Objects through their life: create, read, change, delete, and watch it all.

use futures::{TryStreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;

use crate::{cluster::cluster, requests::PATIENCE};

fn secret(name: &str, value: &str) -> Secret {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"value": value}},
        "stringData": {"key": value},
    }))
    .unwrap()
}

#[tokio::test]
async fn an_object_lives_from_create_to_delete_and_watchers_see_it() {
    let (cluster, client) = cluster().await;
    let api: Api<Secret> = Api::default_namespaced(client);
    let before = api.list(&ListParams::default()).await.unwrap();
    let version = before.metadata.resource_version.unwrap();
    let created = api
        .create(&PostParams::default(), &secret("a", "1"))
        .await
        .unwrap();
    assert!(created.metadata.uid.is_some());
    assert!(created.metadata.creation_timestamp.is_some());
    assert_eq!(
        created.metadata.namespace.as_deref(),
        Some(&*cluster.namespace)
    );

    let patch = Patch::Merge(json!({"stringData": {"key": "2"}}));
    let patched = api
        .patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_ne!(
        patched.metadata.resource_version,
        created.metadata.resource_version
    );
    let again = api
        .patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(
        again, patched,
        "a write that changes nothing stores nothing"
    );

    let stale = created;
    let refused = api
        .replace("a", &PostParams::default(), &stale)
        .await
        .unwrap_err();
    let kube::Error::Api(status) = refused else {
        panic!("{refused}")
    };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));

    let deleted = api.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(deleted.right().is_some_and(|status| status.is_success()));
    assert!(api.get_opt("a").await.unwrap().is_none());

    let params = WatchParams::default().timeout(1);
    let events: Vec<_> = api
        .watch(&params, &version)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let kinds: Vec<&str> = events
        .iter()
        .filter_map(|event| match event {
            WatchEvent::Added(_) => Some("added"),
            WatchEvent::Modified(_) => Some("modified"),
            WatchEvent::Deleted(_) => Some("deleted"),
            WatchEvent::Bookmark(_) => None,
            WatchEvent::Error(status) => panic!("{status}"),
        })
        .collect();
    assert_eq!(kinds, ["added", "modified", "deleted"]);
}

#[tokio::test]
async fn kube_watchers_of_both_kinds_follow_a_resource() {
    let (_cluster, client) = cluster().await;
    let api: Api<Secret> = Api::default_namespaced(client);
    api.create(&PostParams::default(), &secret("before", "1"))
        .await
        .unwrap();
    let configs = [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ];
    for (number, config) in configs.into_iter().enumerate() {
        let after = format!("after-{number}");
        let events = watcher(api.clone(), config).applied_objects();
        pin_mut!(events);
        // The first list may be a moment old, and have what is deleted already.
        let mut comes = async |name: &str| {
            let coming = async {
                while let Some(object) = events.try_next().await.unwrap() {
                    if object.metadata.name.as_deref() == Some(name) {
                        return true;
                    }
                }
                false
            };
            tokio::time::timeout(PATIENCE, coming).await.unwrap()
        };
        assert!(comes("before").await);
        api.create(&PostParams::default(), &secret(&after, "1"))
            .await
            .unwrap();
        assert!(comes(&after).await);
        api.delete(&after, &DeleteParams::default()).await.unwrap();
    }
}
