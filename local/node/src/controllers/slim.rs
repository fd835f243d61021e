//! Objects as controllers remember them. What is decided is decided on what the API says at that moment, so that of
//! a thousand Deployments at rest nothing need be kept but which they are.

use std::{fmt, marker::PhantomData};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, api::ObjectMeta};
use serde::{Deserialize, Deserializer};

/// Which object it is, and whose.
pub(super) struct Slim<K> {
    metadata: ObjectMeta,
    kind: PhantomData<fn() -> K>,
}

/// What is read of an object.
#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    owner_references: Option<Vec<OwnerReference>>,
}

// === impl Slim ===

impl<'de, K> Deserialize<'de> for Slim<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Metadata {
            name,
            namespace,
            uid,
            resource_version,
            owner_references,
        } = Object::deserialize(deserializer)?.metadata;
        Ok(Self {
            metadata: ObjectMeta {
                name,
                namespace,
                uid,
                resource_version,
                owner_references,
                ..ObjectMeta::default()
            },
            kind: PhantomData,
        })
    }
}

impl<K: Resource<DynamicType = ()>> Resource for Slim<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fermata_daemon::names_of!(K);

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

// Whether K can be cloned or shown is no matter: there is none inside.
impl<K> Clone for Slim<K> {
    fn clone(&self) -> Self {
        Self {
            metadata: self.metadata.clone(),
            kind: PhantomData,
        }
    }
}

impl<K> fmt::Debug for Slim<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slim")
            .field("metadata", &self.metadata)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::ResourceExt as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_known_by_its_name_and_owner_alone() {
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "o", "controller": true});
        let slim: Slim<Pod> = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "p", "namespace": "n", "uid": "u", "resourceVersion": "7",
                "annotations": {"long": "text"}, "ownerReferences": [owner],
                "managedFields": [{"manager": "m", "operation": "Apply"}],
            },
            "spec": {"containers": [{"name": "c"}]},
        }))
        .unwrap();
        assert_eq!(
            (slim.name_any(), slim.namespace()),
            ("p".to_owned(), Some("n".to_owned()))
        );
        assert_eq!(slim.owner_references()[0].uid, "o");
        assert!(slim.annotations().is_empty() && slim.managed_fields().is_empty());
        assert_eq!(Slim::<Pod>::api_version(&()), "v1");
    }
}
