//! What is shared of the gateway's knowledge: the routes for requests, and the handles for everybody
//! else.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use fermata_daemon::watch::Key;
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

use crate::{
    backend::{
        function::Function, revision::Revision, router::Router, topics::Topics,
        triggers::FunctionTriggers,
    },
    sync::lock,
};

/// The routes, as one snapshot that is swapped whole.
pub(crate) type Routes = Router<Arc<Function>>;

/// How long after the watch of Functions broke it is told of those that were made meanwhile, if the API server is there: the
/// longest pause before it begins again, and as much as that may take.
const BEHIND: Duration = Duration::from_secs(8);

/// Routes and handles.
#[derive(Debug)]
pub(crate) struct Registry {
    routes: ArcSwap<Routes>,
    routes_changed: Notify,
    /// When it was last known that Functions are not watched: others may know of some that are not here yet.
    broke: Mutex<Option<Instant>>,
    revisions: Mutex<HashMap<Key, Arc<Revision>>>,
    functions: Mutex<HashMap<Key, Arc<Function>>>,
    /// Those that have any.
    triggers: Mutex<HashMap<Key, Arc<FunctionTriggers>>>,
    /// How calls are made whose callers do not wait, as JSON; of those that say so.
    delivery: Mutex<HashMap<Key, Arc<str>>>,
    /// Who hears which topic.
    topics: Topics,
    /// How many pods of which namespaces have an address.
    addresses: Mutex<HashMap<IpAddr, BTreeMap<Box<str>, usize>>>,
}

// === impl Registry ===

impl Registry {
    /// A table without routes.
    #[must_use]
    pub(crate) fn new(routes: Routes) -> Self {
        Self {
            routes: ArcSwap::from_pointee(routes),
            routes_changed: Notify::new(),
            broke: Mutex::default(),
            revisions: Mutex::default(),
            functions: Mutex::default(),
            triggers: Mutex::default(),
            delivery: Mutex::default(),
            topics: Topics::default(),
            addresses: Mutex::default(),
        }
    }

    /// The routes of this moment.
    pub(crate) fn routes(&self) -> arc_swap::Guard<Arc<Routes>> {
        self.routes.load()
    }

    /// Ready when the routes are others than at the time of the call. Cancel safe.
    pub(crate) fn routes_changed(&self) -> Notified<'_> {
        self.routes_changed.notified()
    }

    /// Functions are not watched at this moment, since the watch has just broken, or could not begin again.
    pub(crate) fn functions_broke(&self) {
        *lock(&self.broke) = Some(Instant::now());
    }

    /// Until when there may be Functions that this gateway should have heard of, and has not. The watch begins again
    /// by itself, and says no more of it than that it broke.
    #[must_use]
    pub(crate) fn is_behind_until(&self) -> Option<Instant> {
        let until = lock(&self.broke).map(|broke| broke + BEHIND);
        until.filter(|until| *until > Instant::now())
    }

    /// All Revisions.
    #[must_use]
    pub(crate) fn revisions(&self) -> Vec<Arc<Revision>> {
        lock(&self.revisions).values().cloned().collect()
    }

    /// The Revision of this name.
    #[must_use]
    pub(crate) fn revision(&self, key: &Key) -> Option<Arc<Revision>> {
        lock(&self.revisions).get(key).cloned()
    }

    /// All Functions.
    #[must_use]
    pub(crate) fn functions(&self) -> Vec<Arc<Function>> {
        lock(&self.functions).values().cloned().collect()
    }

    /// The Function of this name.
    #[must_use]
    pub(crate) fn function(&self, key: &Key) -> Option<Arc<Function>> {
        lock(&self.functions).get(key).cloned()
    }

    /// The triggers of all Functions that have any.
    #[must_use]
    pub(crate) fn triggers(&self) -> Vec<(Key, Arc<FunctionTriggers>)> {
        let triggers = lock(&self.triggers);
        let triggers = triggers.iter();
        triggers
            .map(|(key, triggers)| (key.clone(), triggers.clone()))
            .collect()
    }

    /// How calls of the Function are made whose callers do not wait (`spec.delivery`), if it says so.
    #[must_use]
    pub(crate) fn delivery(&self, key: &Key) -> Option<Arc<str>> {
        lock(&self.delivery).get(key).cloned()
    }

    /// Who hears which topic.
    #[must_use]
    pub(crate) fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The namespace of the functions' pods with this address, if it is one.
    #[must_use]
    pub(crate) fn namespace_of(&self, address: IpAddr) -> Option<Box<str>> {
        let addresses = lock(&self.addresses);
        let mut namespaces = addresses.get(&address)?.keys();
        match (namespaces.next(), namespaces.next()) {
            (Some(only), None) => Some(only.clone()),
            _ => None,
        }
    }

    pub(crate) fn add_address(&self, address: IpAddr, namespace: &str) {
        let mut addresses = lock(&self.addresses);
        let pods = addresses.entry(address).or_default();
        *pods.entry(namespace.into()).or_default() += 1;
    }

    pub(crate) fn remove_address(&self, address: IpAddr, namespace: &str) {
        let mut addresses = lock(&self.addresses);
        let Some(pods) = addresses.get_mut(&address) else {
            return;
        };
        if let Some(count) = pods.get_mut(namespace) {
            *count -= 1;
            if *count == 0 {
                pods.remove(namespace);
            }
        }
        if pods.is_empty() {
            addresses.remove(&address);
        }
    }

    pub(crate) fn set_routes(&self, routes: Routes) {
        self.routes.store(Arc::new(routes));
        self.routes_changed.notify_waiters();
    }

    pub(crate) fn set_revision(&self, key: &Key, revision: Option<Arc<Revision>>) {
        let mut revisions = lock(&self.revisions);
        match revision {
            Some(revision) => revisions.insert(key.clone(), revision),
            None => revisions.remove(key),
        };
    }

    pub(crate) fn set_function(&self, key: &Key, function: Option<Arc<Function>>) {
        let mut functions = lock(&self.functions);
        match function {
            Some(function) => functions.insert(key.clone(), function),
            None => functions.remove(key),
        };
    }

    pub(crate) fn set_delivery(&self, key: &Key, delivery: Option<Arc<str>>) {
        let mut all = lock(&self.delivery);
        match delivery {
            Some(delivery) => all.insert(key.clone(), delivery),
            None => all.remove(key),
        };
    }

    pub(crate) fn set_triggers(&self, key: &Key, triggers: Option<Arc<FunctionTriggers>>) {
        let mut all = lock(&self.triggers);
        match triggers {
            Some(triggers) => all.insert(key.clone(), triggers),
            None => all.remove(key),
        };
    }
}
