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

use kube::{
    ResourceExt as _,
    runtime::{
        reflector::{Lookup, ObjectRef, Store, store::Writer},
        watcher::Event,
    },
};

use crate::key::Key;

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
    listing: Option<Vec<Arc<K>>>,
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
        let writer = Writer::<K>::new(());
        let reader = writer.as_reader();
        let inner = Inner {
            writer,
            index: HashMap::new(),
            listing: None,
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

    /// Waits until the first list is complete. Cancel safe.
    pub(crate) async fn ready(&self) {
        // The writer lives as long as the cache, so this cannot fail while anyone waits.
        let _ = self.reader.wait_until_ready().await;
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.reader.get(&reference(key))
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
        self.observe(Event::Apply(object)).pop()
    }

    /// Drops an object of which only the identity is known any more.
    pub(crate) fn forget(&self, key: &Key, uid: &str) -> Option<Change<K>> {
        let last = self
            .get(key)
            .filter(|last| last.uid().as_deref() == Some(uid))?;
        self.observe(Event::Delete((*last).clone())).pop()
    }

    /// An object is there and cannot be read: a list that names it leaves what is known of it.
    pub(crate) fn keep(&self, key: &Key) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(known), Some(listing)) = (self.get(key), &mut inner.listing) else {
            return;
        };
        listing.push(known.clone());
        inner
            .writer
            .apply_watcher_event(&Event::InitApply((*known).clone()));
    }

    /// Takes over an event of the watch and says what changed. An event that is older than what is
    /// known changes nothing.
    pub(crate) fn observe(&self, event: Event<K>) -> Vec<Change<K>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => {
                inner.listing = Some(Vec::new());
                inner.writer.apply_watcher_event(&Event::Init);
                Vec::new()
            }
            Event::InitApply(object) => {
                if let Some(listing) = &mut inner.listing {
                    listing.push(Arc::new(object.clone()));
                }
                inner.writer.apply_watcher_event(&Event::InitApply(object));
                Vec::new()
            }
            Event::InitDone => {
                let before = self.reader.state();
                inner.writer.apply_watcher_event(&Event::InitDone);
                let after = inner.listing.take().unwrap_or_default();
                inner.index.clear();
                for object in &after {
                    inner.insert(object, self.terms);
                }
                relisted(before, after)
            }
            Event::Apply(object) => {
                let old = self.get(&key_of(&object));
                if old.as_deref().is_some_and(|old| !newer(&object, old)) {
                    return Vec::new();
                }
                if let Some(old) = &old {
                    inner.remove(old, self.terms);
                }
                inner
                    .writer
                    .apply_watcher_event(&Event::Apply(object.clone()));
                inner.insert(&object, self.terms);
                let new = Some(Arc::new(object));
                vec![Change { old, new }]
            }
            Event::Delete(object) => {
                let Some(old) = self.get(&key_of(&object)) else {
                    return Vec::new();
                };
                // A newer object of the same name has taken its place already.
                if old.uid() != object.uid() {
                    return Vec::new();
                }
                inner.remove(&old, self.terms);
                inner.writer.apply_watcher_event(&Event::Delete(object));
                vec![Change {
                    old: Some(old),
                    new: None,
                }]
            }
        }
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

/// What a complete list changed against what was known before it.
fn relisted<K>(before: Vec<Arc<K>>, after: Vec<Arc<K>>) -> Vec<Change<K>>
where
    K: Lookup<DynamicType = ()>,
{
    let mut gone: HashMap<Key, Arc<K>> = before
        .into_iter()
        .map(|object| (key_of(&*object), object))
        .collect();
    let mut changes: Vec<Change<K>> = after
        .into_iter()
        .map(|object| Change {
            old: gone.remove(&key_of(&*object)),
            new: Some(object),
        })
        .collect();
    changes.extend(gone.into_values().map(|object| Change {
        old: Some(object),
        new: None,
    }));
    changes
}

fn key_of<K: Lookup>(object: &K) -> Key {
    Key::new(
        object.namespace().unwrap_or_default(),
        object.name().unwrap_or_default(),
    )
}

fn reference<K: Lookup<DynamicType = ()>>(key: &Key) -> ObjectRef<K> {
    let reference = ObjectRef::new(&key.name);
    if key.namespace.is_empty() {
        reference
    } else {
        reference.within(&key.namespace)
    }
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

    #[test]
    fn an_own_write_is_known_at_once_and_its_echo_changes_nothing() {
        let cache = cache();
        let change = cache.remember(service("a", "10", "x")).expect("a change");
        assert!(change.old.is_none() && change.new.is_some());
        assert!(
            cache
                .observe(Event::Apply(service("a", "10", "x")))
                .is_empty()
        );
        assert!(
            cache
                .observe(Event::Apply(service("a", "9", "old")))
                .is_empty()
        );
        assert_eq!(names(&cache, "x"), ["a"]);
    }

    #[test]
    fn the_index_follows_changes_deletions_and_relists() {
        let cache = cache();
        cache.remember(service("a", "1", "x"));
        cache.remember(service("b", "2", "x"));
        cache.remember(service("a", "3", "y"));
        assert_eq!(names(&cache, "x"), ["b"]);
        assert_eq!(names(&cache, "y"), ["a"]);

        cache.observe(Event::Delete(service("b", "4", "x")));
        assert!(names(&cache, "x").is_empty());

        cache.observe(Event::Init);
        cache.observe(Event::InitApply(service("c", "5", "x")));
        let changes = cache.observe(Event::InitDone);
        assert_eq!(changes.len(), 2, "one came, one went");
        assert_eq!(names(&cache, "x"), ["c"]);
        assert!(names(&cache, "y").is_empty());
    }

    #[test]
    fn a_list_leaves_what_is_known_of_an_object_that_cannot_be_read() {
        let cache = cache();
        cache.remember(service("a", "1", "x"));
        cache.observe(Event::Init);
        cache.keep(&Key::new("default", "a"));
        cache.keep(&Key::new("default", "never-seen"));
        let changes = cache.observe(Event::InitDone);
        assert!(
            changes.iter().all(|change| !change.differs(Clone::clone)),
            "{changes:?}"
        );
        assert_eq!(names(&cache, "x"), ["a"]);
    }

    #[test]
    fn the_deletion_of_a_predecessor_leaves_its_successor() {
        let cache = cache();
        let mut successor = service("a", "7", "x");
        successor.metadata.uid = Some("new".into());
        cache.remember(successor);
        assert!(
            cache
                .observe(Event::Delete(service("a", "6", "x")))
                .is_empty()
        );
        assert_eq!(names(&cache, "x"), ["a"]);
    }
}
