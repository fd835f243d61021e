//! Deployments of Revisions.

use fermata_crds::names;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition},
    apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry,
};
use kube::ResourceExt as _;

use super::Observed;
use crate::drift::Live;

/// What the operator applies of a Deployment, as it is now, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DeploymentState {
    /// Everything but status, replicas and bookkeeping.
    pub(crate) live: Live,
    /// Replicas asked for.
    pub(crate) wanted: i32,
    /// Somebody else, usually the gateway, owns `spec.replicas`.
    pub(crate) scaled_by_others: bool,
    /// Replicas that exist.
    pub(crate) replicas: i32,
    /// Replicas that are ready.
    pub(crate) ready: i32,
    /// The sentence of the condition ReplicaFailure: pods that may not be made.
    pub(crate) replica_failure: Option<String>,
    /// The sentence of a rollout that makes no progress.
    pub(crate) stalled: Option<String>,
}

/// A Deployment as far as it is known.
pub(crate) type ObservedDeployment = Observed<Deployment, DeploymentState>;

/// Reduces a Deployment.
pub(crate) fn observe(deployment: Deployment) -> ObservedDeployment {
    let status = deployment.status.as_ref();
    let conditions = status
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let state = DeploymentState {
        live: Live::of(&deployment),
        wanted: deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1),
        scaled_by_others: scaled_by_others(deployment.managed_fields()),
        replicas: status.and_then(|status| status.replicas).unwrap_or(0),
        ready: status.and_then(|status| status.ready_replicas).unwrap_or(0),
        replica_failure: sentence(conditions, "ReplicaFailure", "True", None),
        stalled: sentence(
            conditions,
            "Progressing",
            "False",
            Some("ProgressDeadlineExceeded"),
        ),
    };
    Observed::new(&deployment, state)
}

fn sentence(
    conditions: &[DeploymentCondition],
    kind: &str,
    status: &str,
    reason: Option<&str>,
) -> Option<String> {
    conditions
        .iter()
        .find(|condition| {
            condition.type_ == kind
                && condition.status == status
                && reason.is_none_or(|reason| condition.reason.as_deref() == Some(reason))
        })
        .map(|condition| {
            condition
                .message
                .clone()
                .or_else(|| condition.reason.clone())
                .unwrap_or_default()
        })
}

/// Whether a field manager other than the operator's own apply set `spec.replicas`.
fn scaled_by_others(managed_fields: &[ManagedFieldsEntry]) -> bool {
    managed_fields
        .iter()
        .filter(|entry| {
            entry.manager.as_deref() != Some(names::OPERATOR_FIELD_MANAGER)
                || entry.operation.as_deref() != Some("Apply")
        })
        .filter_map(|entry| entry.fields_v1.as_ref())
        .any(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn deployment(managed_fields: Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "hello-00001", "managedFields": managed_fields},
            "spec": {"replicas": 3, "selector": {}, "template": {}},
            "status": {"replicas": 2, "readyReplicas": 1, "conditions": [
                {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"},
                {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: q"},
            ]},
        }))
        .expect("a Deployment")
    }

    fn entry(manager: &str, operation: &str, subresource: &str) -> Value {
        json!({
            "manager": manager, "operation": operation, "subresource": subresource,
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}},
        })
    }

    #[test]
    fn the_scale_is_somebody_elses_once_another_manager_wrote_it() {
        let own = entry("fermata-operator", "Apply", "");
        assert!(!observe(deployment(json!([own]))).scaled_by_others);
        let gateway = entry("fermata-gateway", "Update", "scale");
        assert!(observe(deployment(json!([own, gateway]))).scaled_by_others);
    }

    #[test]
    fn the_state_tells_what_became_of_it() {
        let seen = observe(deployment(json!([])));
        assert_eq!((seen.wanted, seen.replicas, seen.ready), (3, 2, 1));
        assert_eq!(seen.replica_failure.as_deref(), Some("exceeded quota: q"));
        assert_eq!(seen.stalled, None);
    }
}
