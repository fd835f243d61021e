//! What a watch tells.

use std::collections::HashSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use tracing::warn;

use super::{Key, Place, Unreadable, without_panic};

/// What a watch tells of the objects of one kind.
#[derive(Debug)]
pub enum WatchEvent<K> {
    /// An object is there, or is different.
    There {
        /// The object.
        object: K,
        /// Whether a list says so: then it counts, whatever was known before.
        listed: bool,
    },
    /// An object is gone.
    Gone {
        /// What it was called.
        key: Key,
        /// Tells it from a later one of the same name.
        uid: String,
    },
    /// An object is there and cannot be read; what was known of it stays in force.
    Unreadable(Unreadable),
    /// A list is whole: what it lacks is gone.
    Listed(Names),
    /// A watch broke, and begins again.
    Broke,
}

/// What the whole list of one place has named, unreadable objects included.
#[derive(Debug)]
pub struct Names {
    place: Place,
    keys: HashSet<Key>,
}

// === impl WatchEvent ===

impl<K> WatchEvent<K> {
    /// The same of what is made of the object.
    pub fn map<O>(self, make: impl FnOnce(K) -> O) -> WatchEvent<O> {
        match self {
            Self::There { object, listed } => WatchEvent::There {
                object: make(object),
                listed,
            },
            Self::Gone { key, uid } => WatchEvent::Gone { key, uid },
            Self::Unreadable(object) => WatchEvent::Unreadable(object),
            Self::Listed(names) => WatchEvent::Listed(names),
            Self::Broke => WatchEvent::Broke,
        }
    }
}

impl<K: Resource<DynamicType = ()>> WatchEvent<K> {
    /// Gives it to who takes it in. An object that makes it panic is as one that cannot be read.
    pub(crate) fn hand(self, mut sink: impl FnMut(Self)) {
        let meta = match &self {
            Self::There { object, .. } => Some(identity(object.meta())),
            Self::Unreadable(object) => {
                report(K::kind(&()).as_ref(), object);
                None
            }
            Self::Gone { .. } | Self::Listed(_) | Self::Broke => None,
        };
        if let Err(panicked) = without_panic(|| sink(self)) {
            let object = Unreadable {
                metadata: Box::new(meta.unwrap_or_default()),
                error: panicked.to_string(),
            };
            report(K::kind(&()).as_ref(), &object);
            sink(Self::Unreadable(object));
        }
    }
}

// === impl Names ===

impl Names {
    /// The list of a place that has named these.
    #[must_use]
    pub fn new(place: Place, keys: HashSet<Key>) -> Self {
        Self { place, keys }
    }

    /// The place that was listed.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the object would have been in this list, and was not.
    #[must_use]
    pub fn lack(&self, key: &Key) -> bool {
        self.place.has(key) && !self.keys.contains(key)
    }
}

/// What tells an object, and its version, from others.
fn identity(meta: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        generation: meta.generation,
        ..ObjectMeta::default()
    }
}

fn report(kind: &str, object: &Unreadable) {
    warn!(
        kind,
        namespace = object.metadata.namespace,
        name = object.metadata.name,
        error = object.error,
        "object cannot be read; what was known of it stays in force"
    );
}
