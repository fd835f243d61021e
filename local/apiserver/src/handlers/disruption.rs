//! Whether disruption budgets let a pod be evicted.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{api::Api, selector::LabelSelector, status::Failure};

/// Fails with 429 when the eviction would leave too few healthy pods.
pub(crate) fn allows(api: &Api, pod: &Value) -> Result<(), Failure> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    api.store.view(|state| {
        for (key, budget) in state.scan("poddisruptionbudgets.policy", Some(namespace)) {
            let budget = budget.value();
            let selector = LabelSelector::from_object(&budget["spec"]["selector"]);
            if !selector.matches(&pod["metadata"]["labels"]) {
                continue;
            }
            let pods: Vec<Arc<Value>> = state
                .scan("pods", Some(namespace))
                .map(|(_, pod)| pod.value())
                .filter(|pod| selector.matches(&pod["metadata"]["labels"]))
                .collect();
            let healthy = pods.iter().filter(|pod| is_healthy(pod)).count();
            let needed = needed(&budget["spec"], pods.len());
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
fn needed(spec: &Value, all: usize) -> usize {
    match (&spec["minAvailable"], &spec["maxUnavailable"]) {
        (Value::Null, Value::Null) => all.saturating_sub(1),
        (Value::Null, most) => all.saturating_sub(share(most, all)),
        (least, _) => share(least, all),
    }
}

/// A number, or a percentage of all, rounded up.
fn share(value: &Value, all: usize) -> usize {
    let percent = value
        .as_str()
        .and_then(|text| text.strip_suffix('%')?.parse::<usize>().ok());
    match percent {
        Some(percent) => (all * percent).div_ceil(100),
        None => value
            .as_u64()
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or(0),
    }
}

fn is_healthy(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions
            .filter(|condition| condition["type"] == "Ready")
            .any(|condition| condition["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_number_or_a_share() {
        assert_eq!(needed(&json!({"minAvailable": 2}), 5), 2);
        assert_eq!(needed(&json!({"minAvailable": "50%"}), 5), 3);
        assert_eq!(needed(&json!({"maxUnavailable": 1}), 5), 4);
        assert_eq!(needed(&json!({"maxUnavailable": "100%"}), 5), 0);
    }
}
