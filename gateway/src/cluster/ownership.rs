//! Whose a function with a hard limit is, while gateways come and go.
//!
//! The gateways agree by the list of their pods on the one that counts a function's requests, but they do
//! not see a change of that list at the same moment, and requests that began before it run on. So a gateway
//! takes a Revision over with the count of what runs: it asks all others, which from then on admit nothing
//! to it themselves, and say how many of their requests each instance still works on. Those places stay
//! taken until the others say that they are free. A gateway that answers no more is believed for a bounded
//! time to have what it said last, and nothing at all if nobody listens at its address: only the requests of
//! a gateway that was killed are not counted.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use fermata_daemon::watch::Key;
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::{runtime::Handle, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backend::{registry::Registry, revision::Revision},
    cluster::{
        peer_client::{AskError, ask_peer},
        peers::Peers,
    },
};

/// How long a gateway may take to hand over.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two looks at what still runs elsewhere.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// How long a gateway that answers no more is believed to have what it said last.
const SILENT_HANDOVER_TTL: Duration = Duration::from_secs(30);

/// The path on the admin listener where a gateway hands a Revision over.
pub(crate) const HANDOVER_PATH: &str = "/handover";

/// What a gateway says when it hands a Revision over.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Handover {
    /// Its own requests that each pod works on; those without any are left out.
    pub(crate) running: HashMap<String, u32>,
}

/// Takes Revisions over, and hands them over.
#[derive(Debug)]
pub(crate) struct Ownership {
    peers: Arc<Peers>,
    registry: Arc<Registry>,
    /// Where all gateways answer.
    admin_port: u16,
    /// Where what follows a handover runs: not where requests are served.
    runtime: Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
}

// === impl Ownership ===

impl Ownership {
    /// Ownership among these gateways, all of which answer on the same admin port. Its tasks run on
    /// `runtime`, end with `stop` and belong to `tasks`.
    #[must_use]
    pub(crate) fn new(
        peers: Arc<Peers>,
        registry: Arc<Registry>,
        admin_port: u16,
        runtime: Handle,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            peers,
            registry,
            admin_port,
            runtime,
            tasks,
            stop,
        }
    }

    /// Makes sure that this gateway may admit requests to the Revision: takes it over from the others, once
    /// for each change of the gateways. Takes at most the time that one handover may take.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the Revision with nobody, until the next request takes it over.
    pub(crate) async fn ensure(self: &Arc<Self>, revision: &Arc<Revision>) {
        let epoch = self.peers.epoch();
        if revision.is_held(epoch) {
            return;
        }
        let _turn = revision.takeover.lock().await;
        let epoch = self.peers.epoch();
        if revision.is_held(epoch) {
            return;
        }
        let others = self.peers.others();
        let handovers = others.iter().map(|(_, ip)| self.ask(*ip, revision.key()));
        let mut foreign = HashMap::new();
        for ((name, _), handover) in others.iter().zip(join_all(handovers).await) {
            match handover {
                Ok(handover) => drop(foreign.insert(name.clone(), handover.running)),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    let revision = revision.key();
                    tracing::debug!(peer = &**name, %revision, error, "no handover from a gateway");
                }
            }
        }
        foreign.retain(|_, running| !running.is_empty());
        revision.set_foreign(&foreign);
        revision.hold(epoch);
        if !foreign.is_empty() {
            let follow = follow(self.clone(), revision.clone(), foreign, epoch);
            self.tasks.spawn_on(follow, &self.runtime);
        }
    }

    /// Hands a Revision over to the gateway at this address: from now on this one admits nothing to it.
    /// `None` if the address is no gateway's.
    #[must_use]
    pub(crate) fn hand_over(&self, to: IpAddr, key: &Key) -> Option<Handover> {
        if !self.peers.has_address(to) {
            return None;
        }
        let revision = self.registry.revision(key);
        Some(
            revision.map_or_else(Handover::default, |revision| Handover {
                running: Revision::yield_up(&revision, to, self.peers.epoch()),
            }),
        )
    }

    async fn ask(&self, ip: IpAddr, key: &Key) -> Result<Handover, AskError> {
        let target = format!("{HANDOVER_PATH}?{}/{}", key.namespace, key.name);
        let address = SocketAddr::new(ip, self.admin_port);
        ask_peer(address, http::Method::POST, &target, HANDOVER_TIMEOUT).await
    }
}

/// Frees the places of requests that run elsewhere as they end, as long as the Revision is this gateway's.
async fn follow(
    ownership: Arc<Ownership>,
    revision: Arc<Revision>,
    mut foreign: HashMap<Box<str>, HashMap<String, u32>>,
    epoch: u64,
) {
    let mut heard: HashMap<Box<str>, Instant> = HashMap::new();
    while !foreign.is_empty() {
        tokio::select! {
            () = tokio::time::sleep(FOLLOW_EVERY) => {}
            () = ownership.stop.cancelled() => return,
        }
        if !revision.is_held(epoch) {
            return;
        }
        let known: HashMap<Box<str>, IpAddr> = ownership.peers.others().into_iter().collect();
        // A pod that is no more has no requests.
        foreign.retain(|name, _| known.contains_key(name));
        for (name, running) in &mut foreign {
            let Some(ip) = known.get(name) else { continue };
            match ownership.ask(*ip, revision.key()).await {
                Ok(handover) => {
                    heard.insert(name.clone(), Instant::now());
                    *running = handover.running;
                }
                Err(error) => {
                    let last = heard.entry(name.clone()).or_insert_with(Instant::now);
                    if error.is_refused() || last.elapsed() > SILENT_HANDOVER_TTL {
                        running.clear();
                    }
                }
            }
        }
        foreign.retain(|_, running| !running.is_empty());
        if !revision.is_held(epoch) {
            return;
        }
        revision.set_foreign(&foreign);
        Revision::serve_queue(&revision);
    }
}
