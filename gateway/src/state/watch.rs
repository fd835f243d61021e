//! Watches the four kinds and feeds them to the [`World`].

use std::{
    collections::HashSet,
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use fermata_crds::{Function, Revision, names::FUNCTION_LABEL};
use fermata_watch::{Guarded, Unreadable, Waits, without_panic};
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    activate::probe::Probes,
    state::{
        key::Key,
        lean::{Lean, Parts},
        world::World,
    },
};

/// At most this many events are taken in before the routes are published.
const BATCH: usize = 1024;

/// Between two publications of the routing table, so that a thousand new functions do not mean a
/// thousand tables.
const PUBLISH_EVERY: Duration = Duration::from_millis(10);

/// How the watches are doing.
#[derive(Debug, Default)]
pub struct Health {
    listed: [AtomicBool; 4],
    listed_one: Notify,
    errors: AtomicU64,
    invalid: AtomicU64,
}

/// A kind that is watched; also its place in [`Health`].
#[derive(Clone, Copy, Debug)]
enum Kind {
    Functions,
    Revisions,
    Deployments,
    Pods,
}

/// An event of one kind, as the watch tells it.
type Seen<K> = watcher::Event<Guarded<Lean<K>>>;

/// One event of any kind.
enum Event {
    Function(Seen<Function>),
    Revision(Seen<Revision>),
    Deployment(Seen<Deployment>),
    Pod(Seen<Pod>),
    Failed(Kind, Box<watcher::Error>),
}

/// The keys that a list in progress has named, by kind.
type Lists = [Option<HashSet<Key>>; 4];

// === impl Health ===

impl Health {
    /// Whether each watch has seen a whole list.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.listed
            .iter()
            .all(|listed| listed.load(Ordering::Acquire))
    }

    /// Waits until each watch has seen a whole list.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn synced(&self) {
        loop {
            // Listens before it looks, so that no list is missed.
            let listed = self.listed_one.notified();
            if self.is_synced() {
                return;
            }
            listed.await;
        }
    }

    /// How often a watch failed and was begun again.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// How many objects were passed over because they could not be read.
    #[must_use]
    pub fn invalid(&self) -> u64 {
        self.invalid.load(Ordering::Relaxed)
    }
}

/// Watches until told to stop. Failed watches are begun again after a pause of at most five seconds;
/// what was known stays in force meanwhile.
pub async fn run(
    client: Client,
    mut world: World,
    health: Arc<Health>,
    probes: Probes,
    stop: CancellationToken,
) {
    let mut events = Box::pin(
        events(&client)
            .ready_chunks(BATCH)
            .take_until(stop.cancelled()),
    );
    let mut lists = Lists::default();
    let mut next_publication = tokio::time::Instant::now();
    loop {
        let publication = tokio::time::sleep_until(next_publication);
        tokio::select! {
            batch = events.next() => {
                let Some(batch) = batch else { return };
                for event in batch {
                    take_in(&mut world, &mut lists, &health, event);
                }
                for job in world.take_jobs() {
                    probes.begin(job, &stop);
                }
            }
            () = publication, if world.routes_changed() => {}
        }
        if world.routes_changed() && tokio::time::Instant::now() >= next_publication {
            world.publish_routes();
            next_publication = tokio::time::Instant::now() + PUBLISH_EVERY;
        }
    }
}

fn events(client: &Client) -> impl Stream<Item = Event> + use<> {
    let all = fermata_watch::all;
    let children = || all().labels(FUNCTION_LABEL);
    stream::select(
        stream::select(
            watch(client, all(), Event::Function, Kind::Functions),
            watch(client, all(), Event::Revision, Kind::Revisions),
        ),
        stream::select(
            watch(client, children(), Event::Deployment, Kind::Deployments),
            watch(client, children(), Event::Pod, Kind::Pods),
        ),
    )
}

fn watch<K>(
    client: &Client,
    config: watcher::Config,
    wrap: fn(Seen<K>) -> Event,
    kind: Kind,
) -> impl Stream<Item = Event> + use<K>
where
    K: Parts + Clone + Debug + Send + 'static,
{
    watcher(Api::<Guarded<Lean<K>>>::all(client.clone()), config)
        .backoff(Waits::default())
        .map(move |event| match event {
            Ok(event) => wrap(event),
            Err(error) => Event::Failed(kind, Box::new(error)),
        })
}

fn take_in(world: &mut World, lists: &mut Lists, health: &Health, event: Event) {
    match event {
        Event::Function(event) => step(
            world,
            lists,
            health,
            Kind::Functions,
            event,
            World::apply_function,
            World::delete_function,
            World::keep_functions,
        ),
        Event::Revision(event) => step(
            world,
            lists,
            health,
            Kind::Revisions,
            event,
            World::apply_revision,
            World::delete_revision,
            World::keep_revisions,
        ),
        Event::Deployment(event) => step(
            world,
            lists,
            health,
            Kind::Deployments,
            event,
            World::apply_deployment,
            World::delete_deployment,
            World::keep_deployments,
        ),
        Event::Pod(event) => step(
            world,
            lists,
            health,
            Kind::Pods,
            event,
            World::apply_pod,
            World::delete_pod,
            World::keep_pods,
        ),
        Event::Failed(kind, error) => {
            health.errors.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                ?kind,
                error = &*error as &dyn std::error::Error,
                "watch failed; beginning again"
            );
        }
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "the three ways of one kind, told once per kind"
)]
fn step<K: Parts>(
    world: &mut World,
    lists: &mut Lists,
    health: &Health,
    kind: Kind,
    event: Seen<K>,
    apply: fn(&mut World, &K),
    delete: fn(&mut World, &Key),
    keep: fn(&mut World, &HashSet<Key>),
) {
    let list = &mut lists[kind as usize];
    match event {
        watcher::Event::Init => *list = Some(HashSet::new()),
        watcher::Event::InitApply(guard) => {
            if let Some(list) = list {
                list.insert(Key::of(&guard));
            }
            apply_valid(world, health, kind, guard, apply);
        }
        watcher::Event::InitDone => {
            if let Some(listed) = list.take() {
                keep(world, &listed);
            }
            if world.routes_changed() {
                world.publish_routes();
            }
            // Published before: the routes belong to what "synced" means.
            health.listed[kind as usize].store(true, Ordering::Release);
            health.listed_one.notify_waiters();
        }
        watcher::Event::Apply(guard) => apply_valid(world, health, kind, guard, apply),
        watcher::Event::Delete(guard) => delete(world, &Key::of(&guard)),
    }
}

/// An object that cannot be read changes nothing: what was known of it stays in force.
fn apply_valid<K: Parts>(
    world: &mut World,
    health: &Health,
    kind: Kind,
    guard: Guarded<Lean<K>>,
    apply: fn(&mut World, &K),
) {
    let unreadable = match guard.0 {
        Ok(Lean(object)) => match without_panic(|| apply(world, &object)) {
            Ok(()) => return,
            Err(panicked) => Unreadable {
                metadata: Box::new(object.meta().clone()),
                error: panicked.to_string(),
            },
        },
        Err(unreadable) => unreadable,
    };
    health.invalid.fetch_add(1, Ordering::Relaxed);
    tracing::warn!(
        ?kind,
        namespace = unreadable.metadata.namespace.as_deref().unwrap_or_default(),
        name = unreadable.metadata.name.as_deref().unwrap_or_default(),
        error = unreadable.error,
        "object cannot be read; what was known of it stays in force",
    );
}
