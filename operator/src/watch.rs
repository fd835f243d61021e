//! Watches that feed the caches.
//!
//! A watch never ends: it is started again within five seconds when it breaks, also when the kind
//! itself does not exist yet. An object that does not parse is counted, logged and left alone; it
//! never stops the others.

use std::fmt::Debug;

use fermata_watch::Waits;
use futures::{Stream, StreamExt as _};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use crate::{key::Key, metrics::Metrics, writes::Kind};

/// What a watch tells.
pub(crate) enum Told<K> {
    /// As the watch of kube says it.
    Event(Event<K>),
    /// An object is gone that could not be read any more.
    Gone { key: Key, uid: String },
}

/// Watches all objects of a kind that the configuration selects, and tells the sink. Never ends.
pub(crate) async fn objects<K>(
    client: Client,
    config: watcher::Config,
    metrics: &Metrics,
    sink: impl Fn(Told<K>),
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Kind + 'static,
{
    let api: Api<DeserializeGuard<K>> = Api::all(client);
    let events = watcher::watcher(api, config);
    drive(events, K::KIND, metrics, |event| {
        if let Some(told) = readable(event, metrics) {
            sink(told);
        }
    })
    .await;
}

/// Watches only the metadata of all objects of a kind. Never ends.
pub(crate) async fn metadata<K>(
    client: Client,
    metrics: &Metrics,
    sink: impl Fn(Told<PartialObjectMeta<K>>),
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Kind + 'static,
{
    let api: Api<PartialObjectMeta<K>> = Api::all(client);
    let events = watcher::watcher(api, fermata_watch::all());
    drive(events, K::KIND, metrics, |event| sink(Told::Event(event))).await;
}

async fn drive<E>(
    events: impl Stream<Item = Result<E, watcher::Error>>,
    kind: &'static str,
    metrics: &Metrics,
    sink: impl Fn(E),
) {
    let mut events = std::pin::pin!(events.backoff(Waits::default()));
    let mut broken = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if broken {
                    info!(kind, "the watch works again");
                    broken = false;
                }
                sink(event);
            }
            Err(error) => {
                metrics.watch_broke(kind);
                if !broken {
                    report(kind, &error);
                    broken = !is_restart(&error);
                }
            }
        }
    }
}

/// Says once what is wrong, and what to do where that is known.
fn report(kind: &'static str, error: &watcher::Error) {
    let cause: &dyn std::error::Error = error;
    if let watcher::Error::InitialListFailed(kube::Error::Api(status)) = error {
        if status.is_not_found() {
            warn!(
                kind,
                "the cluster does not know this kind; install the CustomResourceDefinitions of Fermata, which are in its Helm chart; waiting for them"
            );
            return;
        }
        if status.is_forbidden() {
            warn!(
                kind,
                error = cause,
                "the operator may not list this kind; check its ClusterRole"
            );
            return;
        }
    }
    if !is_restart(error) {
        warn!(kind, error = cause, "the watch broke and is started again");
    }
}

/// Watches end now and then as a matter of course, when the API server has forgotten the version
/// they stand at (410 Gone).
fn is_restart(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchError(status) if status.code == 410)
}

fn readable<K>(event: Event<DeserializeGuard<K>>, metrics: &Metrics) -> Option<Told<K>>
where
    K: Resource<DynamicType = ()> + Kind,
{
    let event = match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(DeserializeGuard(Ok(object))) => Event::InitApply(object),
        Event::Apply(DeserializeGuard(Ok(object))) => Event::Apply(object),
        Event::Delete(DeserializeGuard(Ok(object))) => Event::Delete(object),
        Event::Delete(guard @ DeserializeGuard(Err(_))) => {
            return Some(Told::Gone {
                key: Key::of(&guard),
                uid: guard.uid().unwrap_or_default(),
            });
        }
        Event::InitApply(DeserializeGuard(Err(invalid)))
        | Event::Apply(DeserializeGuard(Err(invalid))) => {
            metrics.unreadable(K::KIND);
            warn!(
                kind = K::KIND,
                namespace = invalid.metadata.namespace,
                name = invalid.metadata.name,
                error = invalid.error,
                "cannot read this object; leaving it alone"
            );
            return None;
        }
    };
    Some(Told::Event(event))
}
