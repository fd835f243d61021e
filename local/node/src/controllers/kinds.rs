//! Which kinds the cluster serves, found out anew when definitions change.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    core::ApiResource,
    discovery::{Discovery, Scope, verbs},
    runtime::{WatchStreamExt as _, watcher},
};

use super::{Error, api};

/// One kind of object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kind {
    pub(super) resource: ApiResource,
    pub(super) namespaced: bool,
}

/// Every kind whose objects can be watched and deleted, in the version the server prefers.
pub(super) async fn list(client: &Client) -> Result<Vec<Kind>, Error> {
    let discovery = Discovery::new(client.clone())
        .run()
        .await
        .map_err(api("say which kinds it serves"))?;
    let mut kinds = Vec::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            // The same events are served under this group a second time.
            if resource.group == "events.k8s.io"
                || !capabilities.supports_operation(verbs::WATCH)
                || !capabilities.supports_operation(verbs::DELETE)
            {
                continue;
            }
            kinds.push(Kind {
                resource,
                namespaced: matches!(capabilities.scope, Scope::Namespaced),
            });
        }
    }
    Ok(kinds)
}

/// Something about the definitions has changed; several changes in a row count once.
pub(super) fn changes(client: &Client) -> impl Stream<Item = ()> + Send + use<> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    watcher(definitions, watcher::Config::default())
        .default_backoff()
        .filter_map(async |event| event.ok())
        .ready_chunks(256)
        .then(async |_| tokio::time::sleep(Duration::from_millis(50)).await)
}
