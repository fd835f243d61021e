//! Whether disruption budgets let a pod be evicted.

use k8s_openapi::{
    api::{
        core::v1::Pod,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::json;

use crate::{api::Api, selector::LabelSelector, status::Failure};

/// Fails with 429 when the eviction would leave too few healthy pods.
pub(crate) fn allows(api: &Api, pod: &Pod) -> Result<(), Failure> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    api.store.view(|state| {
        for (key, budget) in state.scan("poddisruptionbudgets.policy", Some(namespace)) {
            let budget: PodDisruptionBudget = budget.read()?;
            let spec = budget.spec.unwrap_or_default();
            // A budget without a selector is for no pods, one with an empty selector for all.
            let Some(selector) = spec.selector.as_ref().map(LabelSelector::of) else {
                continue;
            };
            let chosen = |pod: &Pod| selector.matches(&pod.metadata.labels.as_ref());
            if !chosen(pod) {
                continue;
            }
            let (mut all, mut healthy) = (0, 0);
            for (_, other) in state.scan("pods", Some(namespace)) {
                let other: Pod = other.read()?;
                if chosen(&other) {
                    all += 1;
                    healthy += usize::from(is_healthy(&other));
                }
            }
            let needed = needed(&spec, all);
            if is_healthy(pod) && healthy <= needed {
                return Err(refused(&key.name, needed, healthy));
            }
        }
        Ok(())
    })
}

fn refused(budget: &str, needed: usize, healthy: usize) -> Failure {
    let failure = Failure::too_many_requests(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        10,
    );
    failure.with_cause(json!({
        "reason": "DisruptionBudget",
        "message": format!("The disruption budget {budget} needs {needed} healthy pods and has {healthy} currently"),
    }))
}

/// How many of `all` pods have to stay healthy.
fn needed(spec: &PodDisruptionBudgetSpec, all: usize) -> usize {
    match (&spec.min_available, &spec.max_unavailable) {
        (None, None) => all.saturating_sub(1),
        (None, Some(most)) => all.saturating_sub(share(most, all)),
        (Some(least), _) => share(least, all),
    }
}

/// A number, or a percentage of all, rounded up.
fn share(value: &IntOrString, all: usize) -> usize {
    match value {
        IntOrString::Int(count) => usize::try_from(*count).unwrap_or(0),
        IntOrString::String(text) => {
            let percent = text.strip_suffix('%').and_then(|text| text.parse().ok());
            all.saturating_mul(percent.unwrap_or(0)).div_ceil(100)
        }
    }
}

fn is_healthy(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .unwrap_or_default()
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_number_or_a_share() {
        for (spec, wanted) in [
            (json!({"minAvailable": 2}), 2),
            (json!({"minAvailable": "50%"}), 3),
            (json!({"maxUnavailable": 1}), 4),
            (json!({"maxUnavailable": "100%"}), 0),
            (json!({}), 4),
        ] {
            let spec = serde_json::from_value(spec).expect("a spec");
            assert_eq!(needed(&spec, 5), wanted);
        }
    }
}
