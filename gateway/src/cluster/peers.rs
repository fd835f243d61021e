//! The gateways of the cluster, this one included, and which of them owns a function.
//!
//! The requests that an instance works on can only be counted in one place. So each function with a hard
//! limit has one owner among the gateways, to which the others pass its requests on. All gateways find the
//! same owner, from the same list of pods and without asking each other. While that list changes they may
//! differ for a moment: then a gateway takes the function over from the others before it admits a request,
//! see [`crate::cluster::ownership`].

mod rendezvous;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use fermata_daemon::watch::{Key, Places, Watch, WatchEvent};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    backend::endpoint::Endpoint,
    clock::{self, Micros},
    sync::lock,
};

use rendezvous::weight;

/// How long a gateway that did not take a connection owns nothing, in the eyes of this one.
const EJECTION: Duration = Duration::from_secs(1);

/// Who sends a request, as far as it matters for passing it on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sender {
    /// Anybody.
    Client,
    /// A gateway, which takes this one for the owner: the request stays here.
    Gateway,
    /// A sender that claims to be a gateway, from an address that is none. Something that hides addresses
    /// may be between the two.
    Unknown,
}

/// Where a connection came in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Entrance {
    /// The listener for everybody.
    Public,
    /// The listener for callers in the cluster.
    Internal,
}

/// The gateways.
#[derive(Debug)]
pub(crate) struct Peers {
    /// The name of this one.
    own: Box<str>,
    /// Where all of them take requests.
    ports: Ports,
    pods: Mutex<BTreeMap<Box<str>, Peer>>,
    /// The same as one snapshot, for requests.
    known: ArcSwap<Vec<Peer>>,
    /// Grows with each change of who there is and who serves.
    epoch: AtomicU64,
    /// Whether they have been listed.
    listed: watch::Sender<bool>,
}

/// The ports on which all gateways take requests.
#[derive(Clone, Copy, Debug)]
struct Ports {
    public: u16,
    internal: u16,
}

/// One gateway.
#[derive(Clone, Debug)]
struct Peer {
    /// Where it takes requests from everywhere, under the name of its pod.
    public: Arc<Endpoint>,
    /// Where it takes those from inside the cluster.
    internal: Arc<Endpoint>,
    /// Whether requests are sent there: it is ready and is not being deleted.
    serves: bool,
}

// === impl Peers ===

impl Peers {
    /// Nobody but this gateway, until [`Peers::watch`] finds others. The ports are where all of them take
    /// requests.
    #[must_use]
    pub(crate) fn new(own: &str, public: u16, internal: u16) -> Self {
        Self {
            own: own.into(),
            ports: Ports { public, internal },
            pods: Mutex::default(),
            known: ArcSwap::default(),
            epoch: AtomicU64::new(1),
            listed: watch::Sender::new(false),
        }
    }

    /// Keeps the list up to date until told to stop.
    pub(crate) async fn watch(
        self: Arc<Self>,
        client: Client,
        namespace: String,
        selector: String,
        stop: CancellationToken,
    ) {
        let watch = Watch::new(client, Places::of([&namespace]), &["Pod"]);
        let events = watch.objects::<Pod>(&fermata_daemon::watch::all().labels(&selector));
        let mut events = std::pin::pin!(events.take_until(stop.cancelled()));
        while let Some(event) = events.next().await {
            watch.hand(event, |event| match event {
                WatchEvent::There { object, .. } => self.apply(&object),
                WatchEvent::Gone { key, .. } => self.change(|pods| drop(pods.remove(&key.name))),
                WatchEvent::Listed(names) => {
                    let listed = |name: &str| !names.lack(&Key::new(&namespace, name));
                    self.change(|pods| pods.retain(|name, _| listed(name)));
                    self.listed.send_replace(true);
                }
                WatchEvent::Unreadable(_) | WatchEvent::Broke => {}
            });
        }
    }

    /// A pod of a gateway is there, or is different.
    fn apply(&self, pod: &Pod) {
        let name = pod.name_any();
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        let ip = status
            .and_then(|status| status.pod_ip.as_deref())
            .and_then(|ip| ip.parse::<IpAddr>().ok())
            .filter(|_| !matches!(phase, Some("Failed" | "Succeeded")));
        let ready = status
            .into_iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let serves = ready && pod.metadata.deletion_timestamp.is_none();
        self.change(|pods| {
            let known = pods.remove(&*name);
            let Some(ip) = ip else { return };
            let known = known.filter(|known| known.ip() == ip);
            let peer = match known {
                Some(known) => Peer { serves, ..known },
                None => Peer {
                    public: Endpoint::new(&name, SocketAddr::new(ip, self.ports.public)),
                    internal: Endpoint::new(&name, SocketAddr::new(ip, self.ports.internal)),
                    serves,
                },
            };
            pods.insert(name.into(), peer);
        });
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<Box<str>, Peer>)) {
        let mut pods = lock(&self.pods);
        let who = |pods: &BTreeMap<Box<str>, Peer>| -> Vec<_> {
            let peers = pods.iter();
            peers
                .map(|(name, peer)| (name.clone(), peer.ip(), peer.serves))
                .collect()
        };
        let before = who(&pods);
        change(&mut pods);
        self.known.store(Arc::new(pods.values().cloned().collect()));
        if who(&pods) != before {
            self.epoch.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Tells one set of gateways from the next; never 0.
    #[must_use]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Waits until the other gateways are known. Cancel safe.
    pub(crate) async fn listed(&self) {
        // The sender lives as long as this value.
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    /// The name of this gateway.
    #[must_use]
    pub(crate) fn own(&self) -> &str {
        &self.own
    }

    /// Whether this or another gateway has the name; one that is being deleted still has it.
    #[must_use]
    pub(crate) fn is_known(&self, name: &str) -> bool {
        let known = self.known.load();
        name == &*self.own || known.iter().any(|peer| peer.name() == name)
    }

    /// Name and address of each of the others, those that are being deleted included: they have
    /// requests under way.
    #[must_use]
    pub(crate) fn others(&self) -> Vec<(Box<str>, IpAddr)> {
        let known = self.known.load();
        let others = known.iter().filter(|peer| peer.name() != &*self.own);
        others.map(|peer| (peer.name().into(), peer.ip())).collect()
    }

    /// Where the gateway with this address takes requests.
    #[must_use]
    pub(crate) fn at(&self, address: IpAddr, entrance: Entrance) -> Option<Arc<Endpoint>> {
        let known = self.known.load();
        let peer = known.iter().find(|peer| peer.ip() == address)?;
        Some(peer.at(entrance).clone())
    }

    /// Whether a gateway has this address.
    #[must_use]
    pub(crate) fn has_address(&self, address: IpAddr) -> bool {
        let known = self.known.load();
        known.iter().any(|peer| peer.ip() == address)
    }

    /// The owner of the function, if that is another gateway and a request from this sender has
    /// to go there: to the listener through which it came in here. `leaving` is whether this gateway is
    /// about to stop.
    #[must_use]
    pub(crate) fn owner(
        &self,
        function: &Key,
        sender: Sender,
        entrance: Entrance,
        leaving: bool,
    ) -> Option<Arc<Endpoint>> {
        // Where each goes only to one that weighs more, a request cannot go round in circles.
        let least = match sender {
            Sender::Gateway => return None,
            Sender::Unknown => weight(&self.own, function),
            Sender::Client => 0,
        };
        let (known, now) = (self.known.load(), clock::now());
        let is_own = |peer: &&Peer| peer.name() == &*self.own;
        known
            .iter()
            .filter(|peer| peer.serves && !peer.at(entrance).is_ejected(now))
            .filter(|peer| !(leaving && is_own(peer)))
            .map(|peer| (weight(peer.name(), function), peer))
            .filter(|(weight, _)| *weight >= least)
            .max_by_key(|(weight, _)| *weight)
            .map(|(_, owner)| owner)
            .filter(|owner| !is_own(owner))
            .map(|owner| owner.at(entrance).clone())
    }

    /// The owner did not take a connection: another gateway owns its functions for a moment.
    pub(crate) fn eject(&self, owner: &Endpoint) {
        owner.eject(clock::now() + clock::micros(EJECTION));
    }

    /// Closes connections that nobody has used for a while.
    pub(crate) fn close_idle_connections(&self, now: Micros) {
        for peer in self.known.load().iter() {
            peer.public.pool.close_idle(now);
            peer.internal.pool.close_idle(now);
        }
    }
}

// === impl Peer ===

impl Peer {
    fn name(&self) -> &str {
        self.public.pod()
    }

    fn ip(&self) -> IpAddr {
        self.public.address().ip()
    }

    fn at(&self, entrance: Entrance) -> &Arc<Endpoint> {
        match entrance {
            Entrance::Public => &self.public,
            Entrance::Internal => &self.internal,
        }
    }
}

#[cfg(test)]
mod tests;
