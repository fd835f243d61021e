//! Objects of the API without what the gateway has no use for.
//!
//! `managedFields` alone are a tree of more nodes than all the rest of most objects has, and those of
//! a whole page of a list would be in memory at once.

use std::collections::BTreeMap;

use fermata_crds::{Function, Revision};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
};
use kube::{Resource, api::ObjectMeta};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};

/// An object with the metadata that the gateway reads, and no other.
#[derive(Clone, Debug)]
pub(crate) struct Slim<K>(pub(crate) K);

/// A kind whose objects have metadata, a spec and a status.
pub(crate) trait Sections: Resource<DynamicType = ()> + Sized {
    /// Its spec.
    type Spec: DeserializeOwned;
    /// Its status.
    type Status: DeserializeOwned;

    /// Puts an object together; `None` if it cannot be without a spec.
    fn join(
        metadata: ObjectMeta,
        spec: Option<Self::Spec>,
        status: Option<Self::Status>,
    ) -> Option<Self>;
}

#[derive(Deserialize)]
#[serde(bound = "S: DeserializeOwned, T: DeserializeOwned")]
struct Object<S, T> {
    metadata: Meta,
    spec: Option<S>,
    status: Option<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

// === impl Slim ===

impl<'de, K: Sections> Deserialize<'de> for Slim<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Object::<K::Spec, K::Status>::deserialize(deserializer)?;
        let metadata = ObjectMeta {
            name: object.metadata.name,
            namespace: object.metadata.namespace,
            uid: object.metadata.uid,
            resource_version: object.metadata.resource_version,
            generation: object.metadata.generation,
            creation_timestamp: object.metadata.creation_timestamp,
            deletion_timestamp: object.metadata.deletion_timestamp,
            labels: object.metadata.labels,
            annotations: object.metadata.annotations,
            owner_references: object.metadata.owner_references,
            ..ObjectMeta::default()
        };
        K::join(metadata, object.spec, object.status)
            .map(Self)
            .ok_or_else(|| D::Error::missing_field("spec"))
    }
}

impl<K: Resource<DynamicType = ()>> Resource for Slim<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fermata_daemon::names_of!(K);

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

// === impl Sections ===

macro_rules! sections {
    ($kind:ident, $spec:ty, $status:ty, $wrap:expr) => {
        impl Sections for $kind {
            type Spec = $spec;
            type Status = $status;

            fn join(
                metadata: ObjectMeta,
                spec: Option<$spec>,
                status: Option<$status>,
            ) -> Option<Self> {
                let wrap: fn(Option<$spec>) -> Option<_> = $wrap;
                Some(Self {
                    metadata,
                    spec: wrap(spec)?,
                    status,
                })
            }
        }
    };
}

// Of Kubernetes' own kinds the spec may be absent, of Fermata's it may not.
sections!(
    Deployment,
    k8s_openapi::api::apps::v1::DeploymentSpec,
    k8s_openapi::api::apps::v1::DeploymentStatus,
    Some
);
sections!(
    Pod,
    k8s_openapi::api::core::v1::PodSpec,
    k8s_openapi::api::core::v1::PodStatus,
    Some
);
sections!(
    Function,
    fermata_crds::FunctionSpec,
    fermata_crds::FunctionStatus,
    |spec| spec
);
sections!(
    Revision,
    fermata_crds::RevisionSpec,
    fermata_crds::RevisionStatus,
    |spec| spec
);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_but_the_managed_fields_is_read() {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "a", "namespace": "b", "uid": "c", "resourceVersion": "7", "generation": 3,
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "deletionTimestamp": "2026-01-02T00:00:00Z",
                "labels": { "d": "e" }, "annotations": { "f": "g" },
            },
            "spec": { "containers": [{ "name": "h" }] },
            "status": { "podIP": "10.0.0.1" },
        });
        let whole: Pod = serde_json::from_value(object.clone()).unwrap();
        object["metadata"]["managedFields"] =
            json!([{ "manager": "x", "fieldsV1": { "f:y": {} } }]);
        let slim: Slim<Pod> = serde_json::from_value(object).unwrap();
        assert_eq!(slim.0, whole);
        assert_eq!(
            Slim::<Pod>::url_path(&(), Some("b")),
            Pod::url_path(&(), Some("b"))
        );
    }

    #[test]
    fn a_function_needs_a_spec() {
        let object = json!({ "metadata": { "name": "a" } });
        assert!(serde_json::from_value::<Slim<Deployment>>(object.clone()).is_ok());
        let error = serde_json::from_value::<Slim<Function>>(object).unwrap_err();
        assert_eq!(error.to_string(), "missing field `spec`");
    }
}
