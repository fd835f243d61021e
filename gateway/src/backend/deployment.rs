//! What the gateway keeps of a Deployment.

use k8s_openapi::api::apps::v1::Deployment;

/// The facts of one Revision's Deployment that waking and scaling need.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct DeploymentState {
    /// Replicas that are asked for.
    pub(crate) replicas: u32,
    /// Guards a change of the scale against one that was not seen yet.
    pub(crate) resource_version: Box<str>,
    /// Why the cluster makes no pods (quota, admission), in its own words.
    pub(crate) failure: Option<Box<str>>,
    /// The cluster's own words for having waited too long for the pods.
    pub(crate) overdue: Option<Box<str>>,
}

// === impl DeploymentState ===

impl DeploymentState {
    /// The facts of the Deployment.
    #[must_use]
    pub(crate) fn of(deployment: &Deployment) -> Self {
        let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        Self {
            // The API server fills in 1 where nothing is written.
            replicas: replicas.map_or(1, |replicas| u32::try_from(replicas).unwrap_or(0)),
            resource_version: deployment
                .metadata
                .resource_version
                .clone()
                .unwrap_or_default()
                .into(),
            failure: sentence(deployment, |kind, status, _| {
                kind == "ReplicaFailure" && status == "True"
            }),
            overdue: sentence(deployment, |kind, status, reason| {
                (kind, status, reason) == ("Progressing", "False", "ProgressDeadlineExceeded")
            }),
        }
    }
}

/// Reason and message of the condition whose type, status and reason are those.
fn sentence(deployment: &Deployment, is: fn(&str, &str, &str) -> bool) -> Option<Box<str>> {
    let conditions = deployment.status.as_ref()?.conditions.as_deref()?;
    let bad = conditions.iter().find(|condition| {
        let reason = condition.reason.as_deref().unwrap_or_default();
        is(&condition.type_, &condition.status, reason)
    })?;
    let reason = bad.reason.as_deref().unwrap_or(&bad.type_);
    let message = bad.message.as_deref().unwrap_or_default();
    Some(format!("{reason}: {message}").into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_quota_failure_is_told_in_the_clusters_words() {
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": { "name": "hello-00001", "resourceVersion": "7" },
            "spec": { "replicas": 2, "selector": {}, "template": {} },
            "status": { "conditions": [
                { "type": "Progressing", "status": "True", "reason": "NewReplicaSetCreated" },
                { "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
                  "message": "exceeded quota: pods" },
            ]},
        }))
        .unwrap();
        let state = DeploymentState::of(&deployment);
        assert_eq!(state.replicas, 2);
        assert_eq!(&*state.resource_version, "7");
        assert_eq!(
            state.failure.as_deref(),
            Some("FailedCreate: exceeded quota: pods")
        );
    }

    #[test]
    fn an_empty_object_asks_for_one_replica() {
        assert_eq!(DeploymentState::of(&Deployment::default()).replicas, 1);
    }
}
