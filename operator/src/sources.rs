//! Which Revisions hold the source of which ConfigMaps.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fermata_crds::Revision;
use fermata_daemon::watch::Key;
use kube::ResourceExt as _;

/// Tells one state of one object from every other.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Version {
    pub(crate) uid: String,
    pub(crate) resource_version: String,
}

/// Which Revision holds the source of which state of a ConfigMap, for each Function that takes its
/// source from one, so that a ConfigMap is read again only when it changes. The source itself is kept
/// nowhere but in the Revision.
#[derive(Default)]
pub(crate) struct Sources {
    held: Mutex<HashMap<Key, Held>>,
}

struct Held {
    version: Version,
    /// Uid of the Revision.
    revision: String,
}

// === impl Sources ===

impl Sources {
    /// The Revision among these that holds the source of this state of the Function's ConfigMap.
    pub(crate) fn holder(
        &self,
        function: &Key,
        version: &Version,
        revisions: &[Arc<Revision>],
    ) -> Option<Arc<Revision>> {
        let held = self.lock();
        let held = held.get(function).filter(|held| held.version == *version)?;
        let mut revisions = revisions.iter();
        revisions
            .find(|revision| revision.metadata.uid.as_deref() == Some(&held.revision))
            .cloned()
    }

    /// Takes down that the Revision holds the source of this state of the Function's ConfigMap.
    pub(crate) fn remember(&self, function: Key, version: Version, revision: &Revision) {
        let revision = revision.uid().unwrap_or_default();
        self.lock().insert(function, Held { version, revision });
    }

    /// Forgets the source of a Function that has none any more or is gone.
    pub(crate) fn forget(&self, function: &Key) {
        self.lock().remove(function);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
