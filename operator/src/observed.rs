//! Built-in objects as the operator remembers them: only what its decisions need, since a cluster
//! holds many more of them than of Fermata's own.

pub(crate) mod config_map;
pub(crate) mod deployment;
pub(crate) mod job;
pub(crate) mod pod;
pub(crate) mod service;

use std::{borrow::Cow, collections::BTreeMap, marker::PhantomData, ops::Deref};

use kube::{Resource, ResourceExt as _, runtime::reflector::Lookup};

use crate::{cache::controller_uid, children};

/// An object of kind `K` reduced to its identity and the state `S`.
#[derive(Debug)]
pub(crate) struct Observed<K, S> {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    /// Uid of the owner that controls it.
    pub(crate) controller: Option<String>,
    /// Fermata's own labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// It is on its way out.
    pub(crate) deleting: bool,
    state: S,
    kind: PhantomData<fn() -> K>,
}

// === impl Observed ===

impl<K: Resource<DynamicType = ()>, S> Observed<K, S> {
    pub(crate) fn new(object: &K, state: S) -> Self {
        let meta = object.meta();
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            controller: controller_uid(object).map(str::to_owned),
            labels: children::own_labels(object.labels()),
            deleting: meta.deletion_timestamp.is_some(),
            state,
            kind: PhantomData,
        }
    }
}

impl<K, S> Observed<K, S> {
    /// The value of one of Fermata's labels.
    pub(crate) fn label(&self, label: &str) -> Option<&str> {
        self.labels.get(label).map(String::as_str)
    }

    /// Whether the object belongs to the owner with this uid.
    pub(crate) fn is_controlled_by(&self, uid: &str) -> bool {
        self.controller.as_deref() == Some(uid)
    }

    /// Whether the object is a child with these labels that lost its owner.
    pub(crate) fn is_orphan(&self, labels: &BTreeMap<String, String>) -> bool {
        children::is_orphan(self.controller.as_deref(), &self.labels, labels)
    }
}

impl<K, S> Deref for Observed<K, S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.state
    }
}

impl<K, S: Clone> Clone for Observed<K, S> {
    fn clone(&self) -> Self {
        Self {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            resource_version: self.resource_version.clone(),
            controller: self.controller.clone(),
            labels: self.labels.clone(),
            deleting: self.deleting,
            state: self.state.clone(),
            kind: PhantomData,
        }
    }
}

impl<K: Resource<DynamicType = ()>, S> Lookup for Observed<K, S> {
    type DynamicType = ();

    fermata_daemon::names_of!(K);

    fn name(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.name))
    }

    fn namespace(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.namespace))
    }

    fn resource_version(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.resource_version))
    }

    fn uid(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.uid))
    }
}
