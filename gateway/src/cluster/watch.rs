//! Watches the four kinds and feeds them to the [`ClusterIndex`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fermata_crds::{Function, Revision, names::FUNCTION_LABEL};
use fermata_daemon::watch::{Key, Listed, Names, Places, Watch, WatchEvent};
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::cluster::{
    index::{ClusterIndex, Unprobed},
    slim::{Sections, Slim},
};

/// At most this many events are taken in before the routes are published.
const BATCH: usize = 1024;

/// Between two publications of the routing table, so that a thousand new functions do not mean a
/// thousand tables.
const PUBLISH_EVERY: Duration = Duration::from_millis(10);

/// How the watches are doing.
#[derive(Debug)]
pub(crate) struct Health {
    listed: Arc<Listed>,
    errors: AtomicU64,
    invalid: AtomicU64,
}

/// What is told of any of the four kinds.
enum Event {
    Function(WatchEvent<Slim<Function>>),
    Revision(WatchEvent<Slim<Revision>>),
    Deployment(WatchEvent<Slim<Deployment>>),
    Pod(WatchEvent<Slim<Pod>>),
}

/// What the index does with the objects of one kind.
struct Handlers<K> {
    apply: fn(&mut ClusterIndex, &K),
    delete: fn(&mut ClusterIndex, &Key),
    keep: fn(&mut ClusterIndex, &Names),
}

/// The watches of what a gateway has to know, in these places.
#[must_use]
pub(crate) fn watches(client: Client, places: Places) -> Watch {
    Watch::new(
        client,
        places,
        &["Function", "Revision", "Deployment", "Pod"],
    )
}

// === impl Health ===

impl Health {
    /// That of these watches.
    #[must_use]
    pub(crate) fn of(watch: &Watch) -> Self {
        Self {
            listed: watch.listed().clone(),
            errors: AtomicU64::new(0),
            invalid: AtomicU64::new(0),
        }
    }

    /// Whether everything has been listed, but for namespaces that may not be listed.
    #[must_use]
    pub(crate) fn is_synced(&self) -> bool {
        self.listed.is_whole()
    }

    /// Waits until [`Health::is_synced`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub(crate) async fn synced(&self) {
        self.listed.whole().await;
    }

    /// How often a watch failed and was begun again.
    #[must_use]
    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// How many objects were passed over because they could not be read.
    #[must_use]
    pub(crate) fn invalid(&self) -> u64 {
        self.invalid.load(Ordering::Relaxed)
    }
}

/// Watches until told to stop, and has the instances probed that are found.
pub(crate) async fn run(
    watch: Watch,
    mut index: ClusterIndex,
    health: Arc<Health>,
    probe: impl Fn(Unprobed) + Send,
    stop: CancellationToken,
) {
    let mut events = Box::pin(
        events(&watch)
            .ready_chunks(BATCH)
            .take_until(stop.cancelled()),
    );
    let mut next_publication = tokio::time::Instant::now();
    loop {
        let publication = tokio::time::sleep_until(next_publication);
        tokio::select! {
            batch = events.next() => {
                let Some(batch) = batch else { return };
                for event in batch {
                    take_in(&mut index, &watch, &health, event);
                }
                index.take_unprobed().into_iter().for_each(&probe);
            }
            () = publication, if index.routes_changed() => {}
        }
        if index.routes_changed() && tokio::time::Instant::now() >= next_publication {
            index.publish_routes();
            next_publication = tokio::time::Instant::now() + PUBLISH_EVERY;
        }
    }
}

fn events(watch: &Watch) -> impl Stream<Item = Event> + use<> {
    let all = fermata_daemon::watch::all();
    let children = all.clone().labels(FUNCTION_LABEL);
    stream::select(
        stream::select(
            watch.objects(&all).map(Event::Function),
            watch.objects(&all).map(Event::Revision),
        ),
        stream::select(
            watch.objects(&children).map(Event::Deployment),
            watch.objects(&children).map(Event::Pod),
        ),
    )
}

fn take_in(index: &mut ClusterIndex, watch: &Watch, health: &Health, event: Event) {
    if let Event::Function(WatchEvent::Broke) = &event {
        index.functions_broke();
    }
    match event {
        Event::Function(event) => step(
            index,
            watch,
            health,
            event,
            &Handlers {
                apply: ClusterIndex::apply_function,
                delete: ClusterIndex::delete_function,
                keep: ClusterIndex::keep_functions,
            },
        ),
        Event::Revision(event) => step(
            index,
            watch,
            health,
            event,
            &Handlers {
                apply: ClusterIndex::apply_revision,
                delete: ClusterIndex::delete_revision,
                keep: ClusterIndex::keep_revisions,
            },
        ),
        Event::Deployment(event) => step(
            index,
            watch,
            health,
            event,
            &Handlers {
                apply: ClusterIndex::apply_deployment,
                delete: ClusterIndex::delete_deployment,
                keep: ClusterIndex::keep_deployments,
            },
        ),
        Event::Pod(event) => step(
            index,
            watch,
            health,
            event,
            &Handlers {
                apply: ClusterIndex::apply_pod,
                delete: ClusterIndex::delete_pod,
                keep: ClusterIndex::keep_pods,
            },
        ),
    }
}

fn step<K: Sections>(
    index: &mut ClusterIndex,
    watch: &Watch,
    health: &Health,
    event: WatchEvent<Slim<K>>,
    handlers: &Handlers<K>,
) {
    watch.hand(event, |event| match event {
        WatchEvent::There { object, .. } => (handlers.apply)(index, &object.0),
        WatchEvent::Gone { key, .. } => (handlers.delete)(index, &key),
        WatchEvent::Unreadable(_) => {
            health.invalid.fetch_add(1, Ordering::Relaxed);
        }
        WatchEvent::Listed(names) => {
            (handlers.keep)(index, &names);
            // The routes belong to what "synced" means.
            if index.routes_changed() {
                index.publish_routes();
            }
        }
        WatchEvent::Broke => {
            health.errors.fetch_add(1, Ordering::Relaxed);
        }
    });
}
