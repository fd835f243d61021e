//! The objects in memory, and the one counter that orders every change.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
};

use tokio::sync::watch;

use super::{
    Expired, Key, Object,
    entry::Entry,
    history::{Change, Event, History},
    recent::Recent,
};

/// All that the store knows. Changed only under the store's lock.
pub(crate) struct State {
    /// The newest revision given out.
    pub(crate) revision: u64,
    /// Revisions up to this one belong to an earlier run.
    start: u64,
    tables: HashMap<Arc<str>, Table>,
    /// Changes that the writer has not taken yet.
    pub(crate) pending: Vec<Entry>,
    pub(super) recent: Recent,
}

struct Table {
    objects: BTreeMap<Key, Arc<Object>>,
    history: History,
    /// The revision of the newest event; watches wait on it.
    newest: watch::Sender<u64>,
}

/// Objects as they were at one revision.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) revision: u64,
    pub(crate) items: Vec<(Key, Arc<Object>)>,
}

// === impl State ===

impl State {
    pub(crate) fn new(revision: u64) -> Self {
        Self {
            revision,
            start: revision,
            tables: HashMap::new(),
            pending: Vec::new(),
            recent: Recent::default(),
        }
    }

    /// Puts an object that was read from disk in its place, without an event.
    pub(crate) fn load(&mut self, resource: &str, key: Key, object: Arc<Object>) {
        self.table(&Arc::from(resource)).objects.insert(key, object);
    }

    pub(crate) fn get(&self, resource: &str, key: &Key) -> Option<&Arc<Object>> {
        self.tables.get(resource)?.objects.get(key)
    }

    /// The objects of a resource, in one namespace or in all.
    pub(crate) fn scan(
        &self,
        resource: &str,
        namespace: Option<&str>,
    ) -> impl Iterator<Item = (&Key, &Arc<Object>)> {
        let start = namespace.map_or(Bound::Unbounded, |namespace| {
            Bound::Included(Key::new(namespace, ""))
        });
        let namespace = namespace.map(str::to_owned);
        self.tables
            .get(resource)
            .into_iter()
            .flat_map(move |table| table.objects.range((start.clone(), Bound::Unbounded)))
            .take_while(move |(key, _)| {
                namespace
                    .as_deref()
                    .is_none_or(|namespace| key.namespace == namespace)
            })
    }

    /// A list as it is now or was at revision `at`.
    pub(crate) fn list(
        &self,
        resource: &str,
        namespace: Option<&str>,
        at: Option<u64>,
    ) -> Result<Listing, Expired> {
        let now = self
            .scan(resource, namespace)
            .map(|(key, object)| (key.clone(), Arc::clone(object)));
        let Some(at) = at.filter(|at| *at < self.revision) else {
            return Ok(Listing {
                revision: self.revision,
                items: now.collect(),
            });
        };
        if at < self.start {
            return Err(Expired);
        }
        let mut items: BTreeMap<Key, Arc<Object>> = now.collect();
        if let Some(table) = self.tables.get(resource) {
            for event in table.history.undo(at).ok_or(Expired)? {
                if namespace.is_some_and(|namespace| event.key.namespace != namespace) {
                    continue;
                }
                match &event.previous {
                    Some(previous) => items.insert(event.key.clone(), Arc::clone(previous)),
                    None => items.remove(&event.key),
                };
            }
        }
        Ok(Listing {
            revision: at,
            items: items.into_iter().collect(),
        })
    }

    /// Events newer than `cursor`, and the revision up to which the caller knows everything once
    /// it has seen them.
    pub(crate) fn events(
        &self,
        resource: &str,
        cursor: u64,
        most: usize,
    ) -> Result<(Vec<Arc<Event>>, u64), Expired> {
        if cursor < self.start {
            return Err(Expired);
        }
        let Some(table) = self.tables.get(resource) else {
            return Ok((Vec::new(), self.revision));
        };
        let events = table.history.after(cursor, most).ok_or(Expired)?;
        let known = match events.last() {
            Some(last) if events.len() == most => last.revision,
            _ => self.revision,
        };
        Ok((events, known))
    }

    pub(crate) fn subscribe(&mut self, resource: &Arc<str>) -> watch::Receiver<u64> {
        self.table(resource).newest.subscribe()
    }

    /// Replaces (or with `None` removes) an object and tells the watches.
    /// `last` is what a removal shows as the object's last state.
    pub(crate) fn apply(
        &mut self,
        resource: &Arc<str>,
        key: &Key,
        after: Option<Arc<Object>>,
        last: Option<Arc<Object>>,
    ) {
        let revision = self.revision;
        let table = self.table(resource);
        let previous = match &after {
            Some(object) => table.objects.insert(key.clone(), Arc::clone(object)),
            None => table.objects.remove(key),
        };
        let (change, object) = match (after, &previous) {
            (Some(object), None) => (Change::Added, object),
            (Some(object), Some(_)) => (Change::Modified, object),
            (None, Some(previous)) => (
                Change::Deleted,
                last.unwrap_or_else(|| Arc::clone(previous)),
            ),
            (None, None) => return,
        };
        table.history.push(Arc::new(Event {
            revision,
            change,
            key: key.clone(),
            object,
            previous,
        }));
        table.newest.send_replace(revision);
    }

    /// Forgets the past of a resource, as a compaction does.
    #[cfg(test)]
    pub(crate) fn compact(&mut self, resource: &Arc<str>) {
        self.table(resource).history.compact();
    }

    fn table(&mut self, resource: &Arc<str>) -> &mut Table {
        let start = self.start;
        self.tables
            .entry(Arc::clone(resource))
            .or_insert_with(|| Table {
                objects: BTreeMap::new(),
                history: History::new(start),
                newest: watch::Sender::new(start),
            })
    }
}
