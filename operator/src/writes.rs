//! Everything the operator changes in the cluster goes through here: it is counted, and refused
//! when the operator does not lead.

use std::{fmt::Debug, sync::Arc, time::Duration};

use fermata_crds::names::OPERATOR_FIELD_MANAGER;
use fermata_daemon::lease::Claim;
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::Status,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use crate::{metrics::Metrics, reasons};

/// Changes objects with server-side apply
/// (<https://kubernetes.io/docs/reference/using-api/server-side-apply/>) under the operator's
/// field manager.
pub(crate) struct Writes {
    client: Client,
    claim: Claim,
    metrics: Arc<Metrics>,
}

/// How long a write may take. A claim is good for this much longer than it says, so that a write
/// which was permitted is over before another replica can lead.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// How an apply treats fields that another manager owns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Conflicts {
    /// They are taken over: the object is known to be the operator's own.
    Take,
    /// The apply is refused: the object is new, and nothing of that name may be there.
    Refuse,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// Another replica leads.
    #[error("{kind} {name} was not written because this replica does not lead (any more)")]
    NotLeading {
        /// Kind of the object.
        kind: &'static str,
        /// Name of the object.
        name: String,
    },
    /// The API server did not answer in time.
    #[error("{kind} {name}: no answer to the write within {} s", TIMEOUT.as_secs())]
    Timeout {
        /// Kind of the object.
        kind: &'static str,
        /// Name of the object.
        name: String,
    },
    /// The API server refused it.
    #[error("{kind} {name} was not written")]
    Api {
        /// Kind of the object.
        kind: &'static str,
        /// Name of the object.
        name: String,
        /// What the API server said.
        #[source]
        source: Box<kube::Error>,
    },
}

// === impl Writes ===

impl Writes {
    pub(crate) fn new(client: Client, claim: Claim, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            claim,
            metrics,
        }
    }

    /// Applies an object and returns it as it is now. Dropping the future leaves open whether the
    /// object was written.
    pub(crate) async fn apply<K>(&self, object: &K, conflicts: Conflicts) -> Result<K, WriteError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned
            + Kind,
    {
        let name = self.permit(object)?;
        let parameters = PatchParams {
            force: conflicts == Conflicts::Take,
            ..PatchParams::apply(OPERATOR_FIELD_MANAGER)
        };
        let patch = Patch::Apply(object);
        let api = self.api(object);
        self.send(K::KIND, &name, api.patch(&name, &parameters, &patch))
            .await
    }

    /// Makes an object that nobody changes later.
    pub(crate) async fn create<K>(&self, object: &K) -> Result<K, WriteError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned
            + Kind,
    {
        let name = self.permit(object)?;
        let parameters = PostParams {
            field_manager: Some(OPERATOR_FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let api = self.api(object);
        self.send(K::KIND, &name, api.create(&parameters, object))
            .await
    }

    /// Writes the whole spec, labels and owners of an object that is taken over, in the version that it names:
    /// an apply leaves fields alone that it does not mention, and with them what somebody else may have put
    /// there. The apply comes after it.
    pub(crate) async fn overwrite<K>(&self, object: &K) -> Result<K, WriteError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned
            + Kind,
    {
        let name = self.permit(object)?;
        let written = overwriting(object).map_err(|source| WriteError::Api {
            kind: K::KIND,
            name: name.clone(),
            source: Box::new(kube::Error::SerdeError(source)),
        })?;
        let parameters = PatchParams {
            field_manager: Some(OPERATOR_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let api: Api<K> = self.api(object);
        let write = api.patch(&name, &parameters, &written);
        self.send(K::KIND, &name, write).await
    }

    /// Applies the status of an object. Fields that only others manage stay.
    pub(crate) async fn apply_status<K>(
        &self,
        object: &K,
        status: &impl Serialize,
    ) -> Result<K, WriteError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Kind,
    {
        let name = self.permit(object)?;
        let patch = Patch::Apply(serde_json::json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            // Without the uid, the status of a deleted object could reach one that was made anew
            // under its name.
            "metadata": { "name": name, "uid": object.uid() },
            "status": status,
        }));
        let parameters = PatchParams::apply(OPERATOR_FIELD_MANAGER).force();
        let api: Api<K> = self.api(object);
        let write = api.patch_status(&name, &parameters, &patch);
        self.send(K::STATUS, &name, write).await
    }

    /// Deletes exactly this version of an object; its children go with it. That it is gone already
    /// is no error.
    pub(crate) async fn delete<K>(&self, object: &K) -> Result<(), WriteError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Kind,
    {
        let name = self.permit(object)?;
        let parameters = DeleteParams::background().preconditions(Preconditions {
            resource_version: object.resource_version(),
            uid: object.uid(),
        });
        let api = self.api(object);
        match self
            .send(K::KIND, &name, api.delete(&name, &parameters))
            .await
        {
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(|_| ()),
        }
    }

    async fn send<T>(
        &self,
        kind: &'static str,
        name: &str,
        write: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, WriteError> {
        self.metrics.wrote(kind);
        let name = name.to_owned();
        match timeout(TIMEOUT, write).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(WriteError::Api {
                kind,
                name,
                source: Box::new(source),
            }),
            Err(_) => Err(WriteError::Timeout { kind, name }),
        }
    }

    fn permit<K: Resource + Kind>(&self, object: &K) -> Result<String, WriteError> {
        let name = object.name_any();
        if self.claim.is_current() {
            Ok(name)
        } else {
            Err(WriteError::NotLeading {
                kind: K::KIND,
                name,
            })
        }
    }

    fn api<K>(&self, object: &K) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }
}

fn overwriting<K: Serialize>(object: &K) -> Result<Patch<()>, serde_json::Error> {
    let object = serde_json::to_value(object)?;
    let fields = [
        "/metadata/uid",
        "/metadata/resourceVersion",
        "/metadata/labels",
        "/metadata/ownerReferences",
        "/spec",
    ];
    let add = |field: &&str| {
        let value = object.pointer(field).cloned().unwrap_or_default();
        serde_json::json!({ "op": "add", "path": field, "value": value })
    };
    let operations: Vec<_> = fields.iter().map(add).collect();
    Ok(Patch::Json(serde_json::from_value(operations.into())?))
}

/// The name of a kind, for metrics and messages.
pub(crate) trait Kind {
    /// As in the object's `kind`.
    const KIND: &'static str;
    /// The kind's status, which is counted apart.
    const STATUS: &'static str;
}

macro_rules! kinds {
    ($($kind:ty: $name:literal),* $(,)?) => {
        $(impl Kind for $kind {
            const KIND: &'static str = $name;
            const STATUS: &'static str = concat!($name, "Status");
        })*
    };
}

kinds! {
    fermata_crds::Function: "Function",
    fermata_crds::Revision: "Revision",
    fermata_crds::Runtime: "Runtime",
    k8s_openapi::api::apps::v1::Deployment: "Deployment",
    k8s_openapi::api::batch::v1::Job: "Job",
    k8s_openapi::api::core::v1::ConfigMap: "ConfigMap",
    k8s_openapi::api::core::v1::Pod: "Pod",
    k8s_openapi::api::core::v1::Service: "Service",
}

// === impl WriteError ===

impl WriteError {
    /// What the API server answered, if it did.
    fn status(&self) -> Option<&Status> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::NotLeading { .. } | Self::Timeout { .. } => None,
        }
    }

    /// Somebody else wrote the object in the meantime, or leads in the meantime.
    pub(crate) fn is_routine(&self) -> bool {
        matches!(self, Self::NotLeading { .. }) || self.status().is_some_and(Status::is_conflict)
    }

    /// Which kind of failure it is, for metrics.
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::NotLeading { .. } => "not_leading",
            Self::Timeout { .. } => "timeout",
            Self::Api { .. } if self.is_routine() => "conflict",
            Self::Api { .. } if self.refusal().is_some() => "refused",
            Self::Api { .. } => "api",
        }
    }

    /// The reason, for conditions, of what the API server will not have.
    pub(crate) fn refusal_reason(sentence: &str) -> &'static str {
        if sentence.contains("exceeded quota") {
            reasons::QUOTA_EXCEEDED
        } else {
            reasons::REFUSED
        }
    }

    /// The API server's own sentence where it will not have the object as it is: by an admission
    /// rule, a quota or as invalid. Trying again helps only when something else changes.
    pub(crate) fn refusal(&self) -> Option<&str> {
        let status = self.status()?;
        matches!(status.code, 400 | 403 | 413 | 422).then_some(status.message.as_str())
    }

    /// An object of this name is there already.
    pub(crate) fn is_taken(&self) -> bool {
        self.status()
            .is_some_and(|status| status.code == 409 && status.reason == "AlreadyExists")
    }

    /// The object, or the one its status belongs to, does not exist (any more).
    pub(crate) fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }
}
