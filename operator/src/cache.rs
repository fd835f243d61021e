//! What the operator knows of the cluster: one cache for each kind, with the indexes the
//! controllers look things up by.
//!
//! A cache is fed by its watch and by the operator's own writes, whose answers are stored at once,
//! so that a reconcile never repeats a write because the watch has not told of it yet. Of two
//! versions of an object the newer one stays.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use fermata_daemon::watch::{Key, WatchEvent};
use kube::{
    ResourceExt as _,
    runtime::{
        reflector::{Lookup, Store, store::Writer},
        watcher::Event,
    },
};

/// What objects are looked up by, besides their own names.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Index {
    /// Revisions of a Function.
    Function(Key),
    /// Pods of a Revision.
    Revision(Key),
    /// Functions that take their source from a ConfigMap.
    Source(Key),
    /// Functions that name a Runtime.
    Runtime(String),
    /// Pods of a Revision's build.
    Build(Key),
    /// Revisions with a built layer of dependencies, by their namespace and the layer's key.
    Layer(Key),
    /// Functions that ask for a host or a path.
    Claim(fermata_crds::routes::Claim),
}

/// An object before and after something happened to it; at least one side is there.
#[derive(Debug)]
pub(crate) struct Change<K> {
    pub(crate) old: Option<Arc<K>>,
    pub(crate) new: Option<Arc<K>>,
}

/// The objects of one kind.
pub(crate) struct Cache<K>
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
{
    inner: Mutex<Inner<K>>,
    reader: Store<K>,
    terms: fn(&K) -> Vec<Index>,
}

struct Inner<K>
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
{
    writer: Writer<K>,
    index: HashMap<Index, BTreeSet<Key>>,
}

// === impl Change ===

impl<K> Change<K> {
    /// The newest version known: of a deleted object its last one.
    pub(crate) fn latest(&self) -> Option<&Arc<K>> {
        self.new.as_ref().or(self.old.as_ref())
    }

    /// Whether what the function picks is another than before.
    pub(crate) fn differs<'a, T: PartialEq>(&'a self, pick: impl Fn(&'a K) -> T) -> bool {
        self.old.as_deref().map(&pick) != self.new.as_deref().map(&pick)
    }
}

// === impl Cache ===

impl<K> Cache<K>
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
{
    /// An empty cache whose objects are also found by the given terms.
    pub(crate) fn new(terms: fn(&K) -> Vec<Index>) -> Self {
        let mut writer = Writer::<K>::new(());
        // Kube's controller runtime waits for a first list. Whether there was one is known better elsewhere.
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        let reader = writer.as_reader();
        let inner = Inner {
            writer,
            index: HashMap::new(),
        };
        Self {
            inner: Mutex::new(inner),
            reader,
            terms,
        }
    }

    /// The objects as kube's controller runtime wants them.
    pub(crate) fn store(&self) -> Store<K> {
        self.reader.clone()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.reader.get(&key.object_ref())
    }

    /// The objects under an index term, by name.
    pub(crate) fn indexed(&self, term: &Index) -> Vec<Arc<K>> {
        let keys: Vec<Key> = {
            let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner
                .index
                .get(term)
                .map(|keys| keys.iter().cloned().collect())
                .unwrap_or_default()
        };
        keys.iter().filter_map(|key| self.get(key)).collect()
    }

    /// Takes over what the API server answered to a write.
    pub(crate) fn remember(&self, object: K) -> Option<Change<K>> {
        self.put(object, false)
    }

    /// Takes over what a watch told and says what changed.
    pub(crate) fn observe(&self, told: WatchEvent<K>) -> Vec<Change<K>> {
        match told {
            WatchEvent::There { object, listed } => self.put(object, listed).into_iter().collect(),
            WatchEvent::Gone { key, uid } => self.remove(&key, Some(&uid)).into_iter().collect(),
            WatchEvent::Listed(names) => {
                let known = self.reader.state();
                let known = known.iter().map(|object| key_of(&**object));
                let gone = known.filter(|key| names.lack(key));
                gone.filter_map(|key| self.remove(&key, None)).collect()
            }
            WatchEvent::Unreadable(_) | WatchEvent::Broke => Vec::new(),
        }
    }

    /// What is older than what is known changes nothing, unless a list says it: versions begin anew where
    /// the API server's store was restored.
    fn put(&self, object: K, listed: bool) -> Option<Change<K>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.get(&key_of(&object));
        let changes = |old: &K| {
            if listed {
                object.uid() != old.uid() || object.resource_version() != old.resource_version()
            } else {
                newer(&object, old)
            }
        };
        if !old.as_deref().is_none_or(changes) {
            return None;
        }
        if let Some(old) = &old {
            inner.remove(old, self.terms);
        }
        inner
            .writer
            .apply_watcher_event(&Event::Apply(object.clone()));
        inner.insert(&object, self.terms);
        let new = Some(Arc::new(object));
        Some(Change { old, new })
    }

    /// Drops an object; one that has taken the place of the one with this uid stays.
    fn remove(&self, key: &Key, uid: Option<&str>) -> Option<Change<K>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.get(key)?;
        if uid.is_some_and(|uid| old.uid().as_deref() != Some(uid)) {
            return None;
        }
        inner.remove(&old, self.terms);
        inner
            .writer
            .apply_watcher_event(&Event::Delete((*old).clone()));
        Some(Change {
            old: Some(old),
            new: None,
        })
    }
}

// === impl Inner ===

impl<K> Inner<K>
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
{
    fn insert(&mut self, object: &K, terms: fn(&K) -> Vec<Index>) {
        for term in terms(object) {
            self.index.entry(term).or_default().insert(key_of(object));
        }
    }

    fn remove(&mut self, object: &K, terms: fn(&K) -> Vec<Index>) {
        let key = key_of(object);
        for term in terms(object) {
            if let Some(keys) = self.index.get_mut(&term) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.index.remove(&term);
                }
            }
        }
    }
}

fn key_of<K: Lookup>(object: &K) -> Key {
    Key::new(
        object.namespace().unwrap_or_default(),
        object.name().unwrap_or_default(),
    )
}

/// Resource versions grow and may be compared since Kubernetes 1.35, and did in practice before
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>). Of versions
/// that are no numbers the one that comes last counts.
fn newer<K: Lookup>(one: &K, other: &K) -> bool {
    let number = |object: &K| object.resource_version()?.parse::<u128>().ok();
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one > other,
        _ => one.resource_version() != other.resource_version(),
    }
}

/// The controller among the owners of an object.
pub(crate) fn controller_uid<K: kube::Resource>(object: &K) -> Option<&str> {
    object
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true))
        .map(|owner| owner.uid.as_str())
}

#[cfg(test)]
mod tests {
    use fermata_daemon::watch::{Names, Place};
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    fn service(name: &str, version: &str, label: &str) -> Service {
        let mut service = Service::default();
        service.metadata.namespace = Some("default".into());
        service.metadata.name = Some(name.into());
        service.metadata.uid = Some(name.into());
        service.metadata.resource_version = Some(version.into());
        service.labels_mut().insert("of".into(), label.into());
        service
    }

    fn cache() -> Cache<Service> {
        Cache::new(|service| {
            let of = service.labels().get("of").cloned().unwrap_or_default();
            vec![Index::Runtime(of)]
        })
    }

    fn names(cache: &Cache<Service>, of: &str) -> Vec<String> {
        let found = cache.indexed(&Index::Runtime(of.into()));
        found.iter().map(|service| service.name_any()).collect()
    }

    fn there(object: Service) -> WatchEvent<Service> {
        WatchEvent::There {
            object,
            listed: false,
        }
    }

    fn listed(object: Service) -> WatchEvent<Service> {
        WatchEvent::There {
            object,
            listed: true,
        }
    }

    fn gone(name: &str, uid: &str) -> WatchEvent<Service> {
        WatchEvent::Gone {
            key: Key::new("default", name),
            uid: uid.into(),
        }
    }

    fn whole(names: &[&str]) -> WatchEvent<Service> {
        let keys = names.iter().map(|name| Key::new("default", name));
        WatchEvent::Listed(Names::new(Place::cluster(), keys.collect()))
    }

    #[test]
    fn an_own_write_is_known_at_once_and_its_echo_changes_nothing() {
        let cache = cache();
        let change = cache.remember(service("a", "10", "x")).expect("a change");
        assert!(change.old.is_none() && change.new.is_some());
        assert!(cache.observe(there(service("a", "10", "x"))).is_empty());
        assert!(cache.observe(there(service("a", "9", "old"))).is_empty());
        assert_eq!(names(&cache, "x"), ["a"]);
    }

    #[test]
    fn the_index_follows_changes_deletions_and_lists() {
        let cache = cache();
        cache.remember(service("a", "1", "x"));
        cache.remember(service("b", "2", "x"));
        cache.remember(service("a", "3", "y"));
        assert_eq!(names(&cache, "x"), ["b"]);
        assert_eq!(names(&cache, "y"), ["a"]);

        cache.observe(gone("b", "b"));
        assert!(names(&cache, "x").is_empty());

        assert_eq!(cache.observe(listed(service("c", "5", "x"))).len(), 1);
        assert_eq!(cache.observe(whole(&["c"])).len(), 1, "a went");
        assert_eq!(names(&cache, "x"), ["c"]);
        assert!(names(&cache, "y").is_empty());
    }

    #[test]
    fn a_list_counts_whatever_was_known() {
        let cache = cache();
        cache.remember(service("a", "9", "x"));
        assert_eq!(cache.observe(listed(service("a", "3", "y"))).len(), 1);
        assert_eq!(names(&cache, "y"), ["a"]);
        assert!(cache.observe(listed(service("a", "3", "y"))).is_empty());
    }

    #[test]
    fn a_list_leaves_what_is_known_of_an_object_that_cannot_be_read() {
        let cache = cache();
        cache.remember(service("a", "1", "x"));
        assert!(cache.observe(whole(&["a", "never-seen"])).is_empty());
        assert_eq!(names(&cache, "x"), ["a"]);
    }

    #[test]
    fn the_deletion_of_a_predecessor_leaves_its_successor() {
        let cache = cache();
        let mut successor = service("a", "7", "x");
        successor.metadata.uid = Some("new".into());
        cache.remember(successor);
        assert!(cache.observe(gone("a", "a")).is_empty());
        assert_eq!(names(&cache, "x"), ["a"]);
    }
}
