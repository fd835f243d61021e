//! Names of namespaced objects, used as keys of caches, indexes and queues.

use std::fmt;

use kube::{Resource, runtime::reflector::ObjectRef};

/// Namespace and name of an object; the namespace of a cluster-scoped one is empty.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

// === impl Key ===

impl Key {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of any Kubernetes object.
    pub(crate) fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self::new(
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        )
    }

    /// Another object in the same namespace.
    pub(crate) fn sibling(&self, name: impl Into<String>) -> Self {
        Self::new(self.namespace.clone(), name)
    }

    /// The same key as the runtime of kube writes it.
    pub(crate) fn object_ref<K: Resource<DynamicType = ()>>(&self) -> ObjectRef<K> {
        let reference = ObjectRef::new(&self.name);
        if self.namespace.is_empty() {
            reference
        } else {
            reference.within(&self.namespace)
        }
    }
}

impl<K: Resource<DynamicType = ()>> From<&ObjectRef<K>> for Key {
    fn from(reference: &ObjectRef<K>) -> Self {
        Self::new(
            reference.namespace.clone().unwrap_or_default(),
            reference.name.clone(),
        )
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            formatter.write_str(&self.name)
        } else {
            write!(formatter, "{}/{}", self.namespace, self.name)
        }
    }
}
