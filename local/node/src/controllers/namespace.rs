//! Namespaces: each has a default ServiceAccount, and when one is deleted, everything in it goes first.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
    core::DynamicObject,
    runtime::{
        controller::{Action, Controller},
        reflector::ObjectRef,
        watcher,
    },
};
use tokio_util::sync::CancellationToken;

use super::{Error, api, controller, kinds};

/// How often a namespace that is going is looked at.
const CHECK: Duration = Duration::from_millis(500);

/// The ServiceAccount of pods that name none.
const ACCOUNT: &str = "default";

pub(super) async fn run(client: Client, shutdown: CancellationToken) {
    let controller = Controller::new(
        Api::<Namespace>::all(client.clone()),
        watcher::Config::default(),
    )
    // One that is deleted comes back.
    .watches(
        Api::<ServiceAccount>::all(client.clone()),
        watcher::Config::default().fields(&format!("metadata.name={ACCOUNT}")),
        |account| account.namespace().map(|name| ObjectRef::new(&name)),
    );
    controller::run(controller, reconcile, client, shutdown).await;
}

async fn reconcile(namespace: Arc<Namespace>, client: Arc<Client>) -> Result<Action, Error> {
    if namespace.metadata.deletion_timestamp.is_none() {
        return add_account(&client, &namespace.name_any()).await;
    }
    if empty(&client, &namespace.name_any()).await? {
        finalize(&client, &namespace).await?;
        return Ok(Action::await_change());
    }
    Ok(Action::requeue(CHECK))
}

/// Every namespace has a ServiceAccount that pods use when they name none.
async fn add_account(client: &Client, namespace: &str) -> Result<Action, Error> {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    let account = ServiceAccount {
        metadata: ObjectMeta {
            name: Some(ACCOUNT.to_owned()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    };
    match accounts.create(&PostParams::default(), &account).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 409) => {}
        result => result
            .map(drop)
            .map_err(api("create the default ServiceAccount"))?,
    }
    Ok(Action::await_change())
}

/// Deletes everything in the namespace; says whether nothing is left.
async fn empty(client: &Client, namespace: &str) -> Result<bool, Error> {
    let mut empty = true;
    for kind in kinds::list(client)
        .await?
        .iter()
        .filter(|kind| kind.namespaced)
    {
        let objects =
            Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &kind.resource);
        let left = objects
            .list_metadata(&ListParams::default())
            .await
            .map_err(api("list a namespace"))?;
        for object in left.items {
            empty = false;
            if object.metadata.deletion_timestamp.is_some() {
                continue;
            }
            match objects
                .delete(&object.name_any(), &DeleteParams::background())
                .await
            {
                Err(error) if super::is_gone(&error) => {}
                result => result.map(drop).map_err(api("empty a namespace"))?,
            }
        }
    }
    Ok(empty)
}

async fn finalize(client: &Client, namespace: &Namespace) -> Result<(), Error> {
    let mut last = namespace.clone();
    if let Some(spec) = &mut last.spec {
        spec.finalizers = None;
    }
    let body = serde_json::to_vec(&last)?;
    let request = http::Request::put(format!(
        "/api/v1/namespaces/{}/finalize",
        namespace.name_any()
    ))
    .header(http::header::CONTENT_TYPE, "application/json")
    .body(body)
    .map_err(|error| Error::Api {
        what: "finalize a namespace",
        source: Box::new(kube::Error::HttpError(error)),
    })?;
    match client.request::<serde_json::Value>(request).await {
        Err(error) if super::is_gone(&error) => Ok(()),
        result => result.map(drop).map_err(api("finalize a namespace")),
    }
}
