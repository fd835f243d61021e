//! ResourceQuotas: how much the pods of a namespace may ask for.

use std::{borrow::Borrow, collections::BTreeMap};

use serde_json::{Value, json};

use super::{
    container::{canonical, quantity},
    fields, items, text,
};
use crate::{resource::Hooks, schema::quantity::Quantity, status::FieldError};

pub(crate) const HOOKS: Hooks = Hooks {
    prepare,
    validate,
    ..Hooks::BUILTIN
};

fn prepare(quota: &mut Value, _old: Option<&Value>) {
    canonical(quota.get_mut("spec").and_then(|spec| spec.get_mut("hard")));
}

fn validate(quota: &Value, _old: Option<&Value>, errors: &mut Vec<FieldError>) {
    for (name, amount) in fields(&quota["spec"]["hard"]) {
        if quantity(amount).is_none() {
            errors.push(FieldError::invalid(
                format!("spec.hard[{name}]"),
                amount,
                "must be a quantity, such as 10 or 500m or 2Gi",
            ));
        }
    }
}

/// What a quota counts, of the resources of pods.
fn counted(name: &str) -> Option<(&'static str, &str)> {
    Some(match name {
        "pods" | "count/pods" => ("count", ""),
        "cpu" | "memory" | "ephemeral-storage" => ("requests", name),
        _ => match name.split_once('.')? {
            ("requests", resource) => ("requests", resource),
            ("limits", resource) => ("limits", resource),
            _ => return None,
        },
    })
}

/// What one pod asks for of a counted resource: the sum of its containers, or what the hungriest
/// init container needs if that is more.
fn asked(pod: &Value, name: &str) -> Option<Quantity> {
    let (kind, resource) = counted(name)?;
    if kind == "count" {
        return Some(Quantity::from(1));
    }
    let of = |container: &Value| {
        quantity(&container["resources"][kind][resource]).unwrap_or(Quantity::ZERO)
    };
    let sum = items(&pod["spec"], "containers")
        .map(|(_, container)| of(container))
        .fold(Quantity::ZERO, Quantity::plus);
    let most = items(&pod["spec"], "initContainers")
        .map(|(_, container)| of(container))
        .fold(sum, |most, one| if one.exceeds(most) { one } else { most });
    Some(most)
}

fn live(pod: &Value) -> bool {
    !matches!(text(&pod["status"], "phase"), "Succeeded" | "Failed")
}

/// What the pods of a namespace use of what a quota limits.
pub(crate) fn used(
    quota: &Value,
    pods: impl Iterator<Item = impl Borrow<Value>>,
) -> BTreeMap<String, Quantity> {
    let names: Vec<&String> = fields(&quota["spec"]["hard"])
        .map(|(name, _)| name)
        .filter(|name| counted(name).is_some())
        .collect();
    let mut used: BTreeMap<String, Quantity> = names
        .iter()
        .map(|name| ((*name).clone(), Quantity::ZERO))
        .collect();
    for pod in pods.filter(|pod| live(pod.borrow())) {
        for (name, sum) in &mut used {
            *sum = sum.plus(asked(pod.borrow(), name).unwrap_or(Quantity::ZERO));
        }
    }
    used
}

/// The status of a quota.
pub(crate) fn status(quota: &Value, pods: impl Iterator<Item = impl Borrow<Value>>) -> Value {
    let used: BTreeMap<String, String> = used(quota, pods)
        .into_iter()
        .map(|(name, amount)| (name, amount.to_string()))
        .collect();
    json!({"hard": quota["spec"]["hard"], "used": used})
}

/// Why a quota has no room for one more pod, if it has none.
pub(crate) fn refuses(
    quota: &Value,
    pods: impl Iterator<Item = impl Borrow<Value>>,
    pod: &Value,
) -> Option<String> {
    let name = text(&quota["metadata"], "name");
    let hard = &quota["spec"]["hard"];
    let unset: Vec<String> = fields(hard)
        .filter_map(|(name, _)| {
            let (kind, resource) = counted(name)?;
            if kind == "count" {
                return None;
            }
            let all = items(&pod["spec"], "containers");
            let missing: Vec<&str> = all
                .filter(|(_, one)| one["resources"][kind][resource].is_null())
                .map(|(_, one)| text(one, "name"))
                .collect();
            (!missing.is_empty()).then(|| format!("{name} for: {}", missing.join(",")))
        })
        .collect();
    if !unset.is_empty() {
        return Some(format!(
            "failed quota: {name}: must specify {}",
            unset.join("; ")
        ));
    }
    let (mut requested, mut before, mut limited) = (Vec::new(), Vec::new(), Vec::new());
    for (resource, used) in used(quota, pods) {
        let (Some(more), Some(most)) = (asked(pod, &resource), quantity(&hard[&resource])) else {
            continue;
        };
        if used.plus(more).exceeds(most) {
            requested.push(format!("{resource}={more}"));
            before.push(format!("{resource}={used}"));
            limited.push(format!("{resource}={most}"));
        }
    }
    (!requested.is_empty()).then(|| {
        format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            requested.join(","),
            before.join(","),
            limited.join(",")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(cpu: &str, phase: &str) -> Value {
        json!({
            "spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": cpu}}}]},
            "status": {"phase": phase},
        })
    }

    fn quota(hard: Value) -> Value {
        json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})
    }

    #[test]
    fn a_pod_that_does_not_fit_is_refused_with_the_sums() {
        let quota = quota(json!({"pods": "2", "requests.cpu": "1"}));
        let pods = [pod("600m", "Running"), pod("9", "Succeeded")];
        assert_eq!(refuses(&quota, pods.iter(), &pod("400m", "")), None);
        assert_eq!(
            refuses(&quota, pods.iter(), &pod("500m", "")).expect("refused"),
            "exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1"
        );
        let two = [pod("1m", "Running"), pod("1m", "Pending")];
        assert_eq!(
            refuses(&quota, two.iter(), &pod("1m", "")).expect("refused"),
            "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
        );
    }

    #[test]
    fn a_pod_has_to_say_what_a_quota_counts() {
        let quota = quota(json!({"limits.memory": "1Gi"}));
        assert_eq!(
            refuses(&quota, [].iter(), &pod("1", "")).expect("refused"),
            "failed quota: q: must specify limits.memory for: a"
        );
    }
}
