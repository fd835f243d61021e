//! The gateways of the cluster, this one included, and which of them keeps a function.
//!
//! What one instance works on at once can only be counted in one place. So each function with a hard
//! limit has one gateway that keeps it: the others pass its requests on to that one. All gateways
//! find the same owner without asking each other, from the same list of pods. While a gateway comes
//! or goes they may differ for a moment: then who admits requests takes the function over from the others
//! first, see [`crate::cluster::ownership`].

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
use fermata_watch::{Key, Places, Told, Watch};
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

/// How long a gateway that did not take a connection keeps nothing, in the eyes of this one.
const EJECTION: Duration = Duration::from_secs(1);

/// Who sends a request, as far as it matters for passing it on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sender {
    /// Anybody.
    Client,
    /// A gateway, which takes this one for the owner: it is kept here.
    Gateway,
    /// Somebody who says to be a gateway, from an address that is none. Something that hides addresses
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
        let events = watch.objects::<Pod>(&fermata_watch::all().labels(&selector));
        let mut events = std::pin::pin!(events.take_until(stop.cancelled()));
        while let Some(told) = events.next().await {
            watch.hand(told, |told| match told {
                Told::There { object, .. } => self.apply(&object),
                Told::Gone { key, .. } => self.change(|pods| drop(pods.remove(&key.name))),
                Told::Listed(names) => {
                    let listed = |name: &str| !names.lack(&Key::new(&namespace, name));
                    self.change(|pods| pods.retain(|name, _| listed(name)));
                    self.listed.send_replace(true);
                }
                Told::Unreadable(_) | Told::Broke => {}
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

    /// The gateway that keeps the function, if that is another one and a request from this sender has
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

    /// The owner did not take a connection: another one keeps its functions for a moment.
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

/// How much a gateway is the one for a function (rendezvous hashing): the heaviest is. When one comes
/// or goes, only its own functions move. All versions of Fermata have to agree on the numbers, which
/// is why they come from no hasher of a library.
fn weight(gateway: &str, function: &Key) -> u64 {
    let parts = [gateway, "\0", &function.namespace, "\0", &function.name];
    let bytes = parts.iter().flat_map(|part| part.bytes());
    // FNV-1a, and the finalizer of MurmurHash3, without which similar names have similar weights.
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, ip: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": name },
            "status": { "podIP": ip, "conditions": [{ "type": "Ready", "status": ready }] },
        }))
        .unwrap()
    }

    /// Three gateways, each as it sees itself.
    fn gateways() -> Vec<Peers> {
        ["a", "b", "c"]
            .iter()
            .map(|own| {
                let peers = Peers::new(own, 8080, 8081);
                for (name, ip) in [("a", "10.0.0.1"), ("b", "10.0.0.2"), ("c", "10.0.0.3")] {
                    peers.apply(&pod(name, ip, "True"));
                }
                peers
            })
            .collect()
    }

    fn owner(peers: &Peers, function: &str) -> String {
        let key = Key::new("default", function);
        let owner = peers.owner(&key, Sender::Client, Entrance::Public, false);
        owner.map_or_else(|| peers.own.to_string(), |other| other.pod().to_owned())
    }

    #[test]
    fn all_agree_and_each_keeps_its_share() {
        let gateways = gateways();
        let mut kept = BTreeMap::<String, usize>::new();
        for number in 0..300 {
            let function = format!("f-{number}");
            let owners: Vec<String> = gateways
                .iter()
                .map(|peers| owner(peers, &function))
                .collect();
            assert_eq!(owners[0], owners[1]);
            assert_eq!(owners[0], owners[2]);
            *kept.entry(owners[0].clone()).or_default() += 1;
        }
        assert!(
            kept.values().all(|count| (60..140).contains(count)),
            "{kept:?}"
        );
    }

    #[test]
    fn a_request_stays_on_the_side_on_which_it_came_in() {
        let one = &gateways()[0];
        let owner = |entrance| {
            (0..).find_map(|number| {
                let key = Key::new("default", format!("f-{number}"));
                one.owner(&key, Sender::Client, entrance, false)
            })
        };
        let port = |entrance| owner(entrance).unwrap().address().port();
        assert_eq!(port(Entrance::Public), 8080);
        assert_eq!(port(Entrance::Internal), 8081);
    }

    #[test]
    fn who_goes_leaves_only_its_own_functions() {
        let one = &gateways()[0];
        let functions: Vec<String> = (0..100).map(|number| format!("f-{number}")).collect();
        let before: Vec<String> = functions.iter().map(|name| owner(one, name)).collect();
        let mut leaving = pod("b", "10.0.0.2", "True");
        leaving.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        one.apply(&leaving);
        assert_eq!(one.others().len(), 2, "it has requests under way");
        for (name, before) in functions.iter().zip(&before) {
            let now = owner(one, name);
            assert!(now == *before || before == "b", "{name}");
            assert_ne!(now, "b");
        }
    }

    #[test]
    fn who_takes_no_connection_keeps_nothing_for_a_moment() {
        let one = &gateways()[0];
        let number = (0..).find(|number| owner(one, &format!("f-{number}")) == "b");
        let name = format!("f-{}", number.unwrap());
        let key = Key::new("default", &name);
        one.eject(
            &one.owner(&key, Sender::Client, Entrance::Public, false)
                .unwrap(),
        );
        assert_ne!(owner(one, &name), "b");
    }

    #[test]
    fn one_that_stops_keeps_nothing_while_there_are_others() {
        let one = &gateways()[0];
        for number in 0..20 {
            let key = Key::new("default", format!("f-{number}"));
            assert!(
                one.owner(&key, Sender::Client, Entrance::Public, true)
                    .is_some()
            );
        }
        let alone = Peers::new("a", 8080, 8081);
        let key = Key::new("default", "f");
        let owner = |alone: &Peers| alone.owner(&key, Sender::Client, Entrance::Public, true);
        assert!(owner(&alone).is_none());
        alone.apply(&pod("a", "10.0.0.1", "True"));
        assert!(owner(&alone).is_none());
        alone.apply(&pod("b", "10.0.0.2", "False"));
        assert!(owner(&alone).is_none(), "the other is not ready");
    }

    #[test]
    fn nothing_goes_round_in_circles_whatever_each_of_them_sees() {
        let gateways = gateways();
        for number in 0..50 {
            let key = Key::new("default", format!("f-{number}"));
            // Each of them is about to stop and takes the others for those to go to.
            let next = |from: &Peers, sender| {
                let owner = from.owner(&key, sender, Entrance::Public, true)?;
                gateways.iter().find(|peers| *peers.own == *owner.pod())
            };
            assert!(
                gateways[0]
                    .owner(&key, Sender::Gateway, Entrance::Public, true)
                    .is_none()
            );
            let mut at = next(&gateways[0], Sender::Client);
            for _ in 0..3 {
                at = at.and_then(|peers| next(peers, Sender::Unknown));
            }
            assert!(at.is_none());
        }
    }
}
