//! Watches that feed the caches.
//!
//! A watch never ends: it is started again within five seconds when it breaks, also when the kind
//! itself does not exist yet. An object that cannot be read, or that makes its reader panic, is counted,
//! logged and left as it was known; it never stops the others.

use std::fmt::Debug;

use fermata_watch::{Guarded, Unreadable, Waits, without_panic};
use futures::{Stream, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::PartialObjectMeta,
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
    /// An object is there and cannot be read; what was known of it stays in force.
    Unreadable(Unreadable),
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
    let api: Api<Guarded<K>> = Api::all(client);
    let events = watcher::watcher(api, config);
    drive(events, K::KIND, metrics, |event| {
        let meta = meta_of(&event).cloned();
        let told = readable(event);
        if let Told::Unreadable(object) = &told {
            report_unreadable(K::KIND, object, metrics);
        }
        if let Err(panicked) = without_panic(|| sink(told)) {
            let object = Unreadable {
                metadata: Box::new(meta.unwrap_or_default()),
                error: panicked.to_string(),
            };
            report_unreadable(K::KIND, &object, metrics);
            sink(Told::Unreadable(object));
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

fn report_unreadable(kind: &'static str, object: &Unreadable, metrics: &Metrics) {
    metrics.unreadable(kind);
    warn!(
        kind,
        namespace = object.metadata.namespace,
        name = object.metadata.name,
        error = object.error,
        "object cannot be read; what was known of it stays in force"
    );
}

fn meta_of<K: Resource>(event: &Event<K>) -> Option<&ObjectMeta> {
    match event {
        Event::Init | Event::InitDone => None,
        Event::InitApply(object) | Event::Apply(object) | Event::Delete(object) => {
            Some(object.meta())
        }
    }
}

fn readable<K>(event: Event<Guarded<K>>) -> Told<K>
where
    K: Resource<DynamicType = ()>,
{
    Told::Event(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(Guarded(Ok(object))) => Event::InitApply(object),
        Event::Apply(Guarded(Ok(object))) => Event::Apply(object),
        Event::Delete(Guarded(Ok(object))) => Event::Delete(object),
        Event::Delete(guarded @ Guarded(Err(_))) => {
            return Told::Gone {
                key: Key::of(&guarded),
                uid: guarded.uid().unwrap_or_default(),
            };
        }
        Event::InitApply(Guarded(Err(object))) | Event::Apply(Guarded(Err(object))) => {
            return Told::Unreadable(object);
        }
    })
}
