//! Who belongs to whom, and what follows from that. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};

use kube::api::ObjectMeta;

/// The finalizer of an owner that waits until its dependents are gone.
pub(super) const FOREGROUND: &str = "foregroundDeletion";

/// The finalizer of an owner whose dependents are to stay.
pub(super) const ORPHAN: &str = "orphan";

/// One object.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) kind: usize,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) owners: Vec<Owner>,
    deleting: bool,
    foreground: bool,
    orphan: bool,
}

/// A reference to an owner.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) uid: String,
    blocks: bool,
}

/// What to do with an object.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Some owner is not known: see which are gone, and follow them.
    CheckOwners,
    /// Its owner waits for it to go.
    DeleteForOwner,
    /// Let these stay without it, then let it go.
    OrphanDependents(Vec<String>),
    /// Nothing depends on it any more: let it go.
    Release,
}

/// All objects, by uid.
#[derive(Debug, Default)]
pub(super) struct Graph {
    entries: HashMap<String, Entry>,
    dependents: HashMap<String, BTreeSet<String>>,
    /// The objects of a kind that were seen in a list under way.
    listing: HashMap<usize, HashSet<String>>,
}

// === impl Entry ===

impl Entry {
    pub(super) fn of(kind: usize, metadata: &ObjectMeta) -> Option<Self> {
        let has = |finalizer: &str| {
            metadata
                .finalizers
                .iter()
                .flatten()
                .any(|own| own == finalizer)
        };
        let owner =
            |reference: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| Owner {
                api_version: reference.api_version.clone(),
                kind: reference.kind.clone(),
                name: reference.name.clone(),
                uid: reference.uid.clone(),
                blocks: reference.block_owner_deletion == Some(true),
            };
        Some(Self {
            kind,
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone()?,
            uid: metadata.uid.clone()?,
            owners: metadata
                .owner_references
                .iter()
                .flatten()
                .map(owner)
                .collect(),
            deleting: metadata.deletion_timestamp.is_some(),
            foreground: has(FOREGROUND),
            orphan: has(ORPHAN),
        })
    }
}

// === impl Graph ===

impl Graph {
    pub(super) fn get(&self, uid: &str) -> Option<&Entry> {
        self.entries.get(uid)
    }

    pub(super) fn contains(&self, uid: &str) -> bool {
        self.entries.contains_key(uid)
    }

    pub(super) fn begin_list(&mut self, kind: usize) {
        self.listing.insert(kind, HashSet::new());
    }

    /// Ends a list: objects of the kind that it did not have are gone. Gives what to look at.
    pub(super) fn end_list(&mut self, kind: usize) -> BTreeSet<String> {
        let Some(seen) = self.listing.remove(&kind) else {
            return BTreeSet::new();
        };
        let of_kind = self.entries.values().filter(|entry| entry.kind == kind);
        let gone: Vec<String> = of_kind
            .filter(|entry| !seen.contains(&entry.uid))
            .map(|entry| entry.uid.clone())
            .collect();
        let mut due: BTreeSet<String> = gone.iter().flat_map(|uid| self.remove(uid)).collect();
        due.extend(seen);
        due
    }

    /// Takes in an object as it is now. Gives what to look at.
    pub(super) fn put(&mut self, entry: Entry) -> BTreeSet<String> {
        if let Some(seen) = self.listing.get_mut(&entry.kind) {
            seen.insert(entry.uid.clone());
        }
        self.unlink(&entry.uid);
        for owner in &entry.owners {
            self.dependents
                .entry(owner.uid.clone())
                .or_default()
                .insert(entry.uid.clone());
        }
        let uid = entry.uid.clone();
        let waits_for_dependents = entry.deleting && entry.foreground;
        self.entries.insert(uid.clone(), entry);
        let mut due = BTreeSet::from([uid.clone()]);
        if waits_for_dependents {
            due.extend(self.dependents.get(&uid).into_iter().flatten().cloned());
        }
        due
    }

    /// Takes out an object that is gone. Gives what to look at.
    pub(super) fn remove(&mut self, uid: &str) -> BTreeSet<String> {
        let owners = self.unlink(uid);
        self.entries.remove(uid);
        let mut due = self.dependents.remove(uid).unwrap_or_default();
        for dependent in &due {
            // The references are still in the objects, so the next removal finds them again.
            self.dependents
                .entry(uid.to_owned())
                .or_default()
                .insert(dependent.clone());
        }
        if self.dependents.get(uid).is_some_and(BTreeSet::is_empty) {
            self.dependents.remove(uid);
        }
        due.extend(owners);
        due
    }

    /// What to do with an object now.
    pub(super) fn step(&self, uid: &str) -> Option<Step> {
        let entry = self.entries.get(uid)?;
        if entry.deleting {
            let dependents = || {
                self.dependents
                    .get(uid)
                    .into_iter()
                    .flatten()
                    .filter(|dependent| self.contains(dependent))
            };
            if entry.orphan {
                return Some(Step::OrphanDependents(dependents().cloned().collect()));
            }
            let blocked = || {
                dependents()
                    .filter_map(|dependent| self.get(dependent))
                    .any(|dependent| dependent.blocks(uid))
            };
            return (entry.foreground && !blocked()).then_some(Step::Release);
        }
        if entry.owners.is_empty() {
            return None;
        }
        let owner_waits = |owner: &Owner| {
            self.get(&owner.uid)
                .is_some_and(|owner| owner.deleting && owner.foreground)
        };
        if entry
            .owners
            .iter()
            .all(|owner| owner_waits(owner) || !self.contains(&owner.uid))
            && entry.owners.iter().any(owner_waits)
        {
            return Some(Step::DeleteForOwner);
        }
        entry
            .owners
            .iter()
            .any(|owner| !self.contains(&owner.uid))
            .then_some(Step::CheckOwners)
    }

    /// Forgets an object's references to its owners; gives the owners.
    fn unlink(&mut self, uid: &str) -> Vec<String> {
        let owners: Vec<String> = self
            .entries
            .get(uid)
            .into_iter()
            .flat_map(|entry| &entry.owners)
            .map(|owner| owner.uid.clone())
            .collect();
        for owner in &owners {
            if let Some(dependents) = self.dependents.get_mut(owner) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
        owners
    }
}

impl Entry {
    fn blocks(&self, owner: &str) -> bool {
        self.owners
            .iter()
            .any(|reference| reference.uid == owner && reference.blocks)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(uid: &str, owners: &[&str], deleting: Option<&str>) -> Entry {
        let owners: Vec<_> = owners
            .iter()
            .map(|owner| json!({"apiVersion": "v1", "kind": "X", "name": owner, "uid": owner, "blockOwnerDeletion": true}))
            .collect();
        let metadata = json!({
            "name": uid, "uid": uid, "ownerReferences": owners,
            "deletionTimestamp": deleting.map(|_| "2026-01-01T00:00:00Z"),
            "finalizers": deleting.map(|finalizer| vec![finalizer]),
        });
        Entry::of(0, &serde_json::from_value(metadata).unwrap()).unwrap()
    }

    #[test]
    fn dependents_of_a_gone_owner_are_due() {
        let mut graph = Graph::default();
        graph.put(object("owner", &[], None));
        graph.put(object("child", &["owner"], None));
        assert_eq!(graph.step("child"), None);
        assert_eq!(graph.remove("owner"), BTreeSet::from(["child".to_owned()]));
        assert_eq!(graph.step("child"), Some(Step::CheckOwners));
        graph.remove("child");
        assert!(graph.dependents.is_empty());
    }

    #[test]
    fn an_owner_in_foreground_deletion_waits_for_its_dependents() {
        let mut graph = Graph::default();
        graph.put(object("owner", &[], None));
        graph.put(object("child", &["owner"], None));
        let due = graph.put(object("owner", &[], Some(FOREGROUND)));
        assert!(due.contains("child"));
        assert_eq!(graph.step("owner"), None);
        assert_eq!(graph.step("child"), Some(Step::DeleteForOwner));
        assert!(graph.remove("child").contains("owner"));
        assert_eq!(graph.step("owner"), Some(Step::Release));
    }

    #[test]
    fn orphaning_lets_the_dependents_stay() {
        let mut graph = Graph::default();
        graph.put(object("child", &["owner"], None));
        graph.put(object("owner", &[], Some(ORPHAN)));
        assert_eq!(
            graph.step("owner"),
            Some(Step::OrphanDependents(vec!["child".into()]))
        );
    }

    #[test]
    fn a_list_tells_what_is_gone() {
        let mut graph = Graph::default();
        graph.put(object("owner", &[], None));
        graph.put(object("child", &["owner"], None));
        graph.begin_list(0);
        graph.put(object("child", &["owner"], None));
        assert!(graph.end_list(0).contains("child"));
        assert!(!graph.contains("owner"));
    }
}
