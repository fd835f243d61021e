//! An object as it is stored, and where.

use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::lock;
use crate::status::Failure;

/// Where an object stands among those of its resource. Cluster-scoped objects have no namespace.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// An object as stored: its serialised form, which every response shares. As a tree it takes several times
/// as much, so that there is one only while somebody looks at it.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) json: Bytes,
    pub(crate) revision: u64,
    tree: Mutex<Weak<Value>>,
}

// === impl Key ===

impl Key {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Where an object says that it stands.
    pub(crate) fn of(value: &Value) -> Self {
        let text = |field: &str| {
            value["metadata"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        Self::new(text("namespace"), text("name"))
    }
}

// === impl Object ===

impl Object {
    /// Numbers the object with the revision and serialises it.
    pub(crate) fn new(value: Value, revision: u64) -> Self {
        Self::with_tree(value, revision).0
    }

    /// The same, with the tree that it has as long as somebody keeps it.
    pub(super) fn with_tree(mut value: Value, revision: u64) -> (Self, Arc<Value>) {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert(
                "resourceVersion".to_owned(),
                Value::String(revision.to_string()),
            );
        }
        let tree = Arc::new(value);
        let object = Self {
            // Without the room that a growing string has left over.
            json: Bytes::from(tree.to_string().into_boxed_str().into_boxed_bytes()),
            revision,
            tree: Mutex::new(Arc::downgrade(&tree)),
        };
        (object, tree)
    }

    /// An object that is shown but not stored: what a dry run answers.
    pub(crate) fn unstored(value: &Value) -> Self {
        let revision = value["metadata"]["resourceVersion"]
            .as_str()
            .and_then(|revision| revision.parse().ok())
            .unwrap_or(0);
        Self {
            json: Bytes::from(value.to_string()),
            revision,
            tree: Mutex::default(),
        }
    }

    /// The object as a tree, which all who look at it now share.
    pub(crate) fn value(&self) -> Arc<Value> {
        let mut tree = lock(&self.tree);
        if let Some(value) = tree.upgrade() {
            return value;
        }
        // What is stored was serialised here, or read once already.
        let value: Arc<Value> = Arc::new(serde_json::from_slice(&self.json).unwrap_or_default());
        *tree = Arc::downgrade(&value);
        value
    }

    /// The object as its type, in which a misspelled field does not compile. What is stored was held to it, save for
    /// what an earlier version of this server has written.
    ///
    /// # Errors
    ///
    /// 500 when it cannot be read.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.json).map_err(|error| {
            let value = self.value();
            let key = Key::of(&value);
            let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
            Failure::internal(format!(
                "the stored {} {}/{} cannot be read, delete it: {error}",
                text("kind"),
                key.namespace,
                key.name
            ))
        })
    }

    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(json).ok()?;
        let revision = value["metadata"]["resourceVersion"]
            .as_str()?
            .parse()
            .ok()?;
        Some(Self {
            json: Bytes::copy_from_slice(json),
            revision,
            tree: Mutex::default(),
        })
    }
}
