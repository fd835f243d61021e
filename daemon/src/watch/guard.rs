//! Objects that may be unreadable. A single one of them must not end a watch, and with it the process:
//! any user who may write one object could stop the platform for all others.

use std::{
    any::Any,
    borrow::Cow,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};

/// An object of a list or a watch, or what can be said of one that cannot be read. Reading it neither
/// fails the list it is in nor panics; only an object without readable metadata does the former.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, Unreadable>);

/// An object that cannot be read.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Its metadata, without `managedFields`.
    pub metadata: Box<ObjectMeta>,
    /// What is wrong with it, as the reader says it.
    pub error: String,
}

#[derive(Deserialize)]
struct OnlyMetadata {
    metadata: ObjectMeta,
}

// === impl Guarded ===

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = serde_json::Value::deserialize(deserializer)?;
        let read = without_panic(|| K::deserialize(&object));
        let error = match read {
            Ok(Ok(object)) => return Ok(Self(Ok(object))),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        let OnlyMetadata { mut metadata } =
            OnlyMetadata::deserialize(object).map_err(D::Error::custom)?;
        metadata.managed_fields = None;
        Ok(Self(Err(Unreadable {
            metadata: Box::new(metadata),
            error,
        })))
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(kind: &K::DynamicType) -> Cow<'_, str> {
        K::kind(kind)
    }

    fn group(kind: &K::DynamicType) -> Cow<'_, str> {
        K::group(kind)
    }

    fn version(kind: &K::DynamicType) -> Cow<'_, str> {
        K::version(kind)
    }

    fn plural(kind: &K::DynamicType) -> Cow<'_, str> {
        K::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0
            .as_ref()
            .map_or_else(|unreadable| &*unreadable.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0
            .as_mut()
            .map_or_else(|unreadable| &mut *unreadable.metadata, K::meta_mut)
    }
}

/// A panic that was caught, with its message. Where it happened is in the log: the process's panic hook
/// has run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Panicked(String);

impl fmt::Display for Panicked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Fermata panicked on it: {}", self.0)
    }
}

/// Does what belongs to one object. A panic is that object's failure and nobody else's.
///
/// # Errors
///
/// [`Panicked`] if `work` panics. What it had changed by then stays changed.
pub fn without_panic<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| Panicked(message(&*payload)))
}

fn message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "no message".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    /// Something that reads its metadata and panics on everything else.
    #[derive(Debug)]
    struct Panics;

    impl<'de> Deserialize<'de> for Panics {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("too long");
        }
    }

    #[test]
    fn what_can_be_read_is_read() {
        let object = json!({ "metadata": { "name": "a" }, "spec": { "containers": [] } });
        let guarded: Guarded<Pod> = serde_json::from_value(object).unwrap();
        assert_eq!(guarded.meta().name.as_deref(), Some("a"));
        assert!(guarded.0.is_ok());
    }

    #[test]
    fn of_anything_else_the_metadata_and_the_error_are_kept() {
        let object = json!({
            "metadata": { "name": "a", "managedFields": [{ "manager": "x" }] },
            "spec": { "containers": "none" },
        });
        let guarded: Guarded<Pod> = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(guarded.meta().name.as_deref(), Some("a"));
        assert_eq!(guarded.meta().managed_fields, None);
        assert!(guarded.0.unwrap_err().error.contains("none"));

        let guarded: Guarded<Panics> = serde_json::from_value(object).unwrap();
        let error = guarded.0.unwrap_err().error;
        assert_eq!(error, "Fermata panicked on it: too long");
    }
}
