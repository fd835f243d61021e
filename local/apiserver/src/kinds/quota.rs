//! ResourceQuotas: how much the pods of a namespace may ask for.

use std::{borrow::Borrow, collections::BTreeMap};

use k8s_openapi::{
    api::core::v1::{Container, Pod, ResourceQuota, ResourceQuotaStatus, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as Amount,
};
use serde_json::json;

use super::container::{Amounts, canonical, quantity};
use crate::{resource::Hooks, schema::quantity::Quantity, status::FieldError, typed};

pub(crate) const HOOKS: Hooks = Hooks {
    check: typed::check::<ResourceQuota>,
    prepare: |quota, _| typed::change(quota, prepare),
    validate: |quota, old, errors| typed::rules(quota, old, errors, rules),
    ..Hooks::BUILTIN
};

fn prepare(quota: &mut ResourceQuota) {
    canonical(quota.spec.as_mut().and_then(|spec| spec.hard.as_mut()));
}

fn rules(quota: &ResourceQuota, _old: Option<&ResourceQuota>, errors: &mut Vec<FieldError>) {
    for (name, amount) in hard(quota) {
        if quantity(amount).is_none() {
            errors.push(FieldError::invalid(
                format!("spec.hard[{name}]"),
                &json!(amount),
                "must be a quantity, such as 10 or 500m or 2Gi",
            ));
        }
    }
}

/// What a quota limits, and to how much.
fn hard(quota: &ResourceQuota) -> impl Iterator<Item = (&String, &Amount)> {
    let spec = quota.spec.as_ref();
    spec.and_then(|spec| spec.hard.as_ref())
        .into_iter()
        .flatten()
}

/// What a quota counts, of the resources of pods.
#[derive(Clone, Copy)]
enum Counted<'a> {
    Pods,
    Requests(&'a str),
    Limits(&'a str),
}

// === impl Counted ===

impl<'a> Counted<'a> {
    /// `None` for what is no resource of pods.
    fn parse(name: &'a str) -> Option<Self> {
        Some(match name {
            "pods" | "count/pods" => Self::Pods,
            "cpu" | "memory" | "ephemeral-storage" => Self::Requests(name),
            _ => match name.split_once('.')? {
                ("requests", resource) => Self::Requests(resource),
                ("limits", resource) => Self::Limits(resource),
                _ => return None,
            },
        })
    }

    /// What a container says of the resource; `None` when it says nothing, and for pods.
    fn given(self, container: &Container) -> Option<&Amount> {
        let ResourceRequirements {
            limits, requests, ..
        } = container.resources.as_ref()?;
        let (amounts, resource) = match self {
            Self::Pods => return None,
            Self::Requests(resource) => (requests, resource),
            Self::Limits(resource) => (limits, resource),
        };
        amounts.as_ref()?.get(resource)
    }

    /// What one pod asks for: the sum of its containers, or what the hungriest init container needs if that is more.
    fn asked(self, pod: &Pod) -> Quantity {
        if matches!(self, Self::Pods) {
            return Quantity::from(1);
        }
        let of = |container: &Container| {
            let given = self.given(container);
            given.and_then(quantity).unwrap_or(Quantity::ZERO)
        };
        let Some(spec) = &pod.spec else {
            return Quantity::ZERO;
        };
        let sum = spec
            .containers
            .iter()
            .map(of)
            .fold(Quantity::ZERO, Quantity::plus);
        let init = spec.init_containers.iter().flatten();
        init.map(of)
            .fold(sum, |most, one| if one.exceeds(most) { one } else { most })
    }
}

fn is_live(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

/// What the pods of a namespace use of what a quota limits.
fn used(
    quota: &ResourceQuota,
    pods: impl Iterator<Item = impl Borrow<Pod>>,
) -> BTreeMap<&str, Quantity> {
    let counted: Vec<(&str, Counted<'_>)> = hard(quota)
        .filter_map(|(name, _)| Some((name.as_str(), Counted::parse(name)?)))
        .collect();
    let mut used: BTreeMap<&str, Quantity> = counted
        .iter()
        .map(|(name, _)| (*name, Quantity::ZERO))
        .collect();
    for pod in pods.filter(|pod| is_live(pod.borrow())) {
        for (name, counted) in &counted {
            if let Some(sum) = used.get_mut(name) {
                *sum = sum.plus(counted.asked(pod.borrow()));
            }
        }
    }
    used
}

/// The status of a quota.
pub(crate) fn status(
    quota: &ResourceQuota,
    pods: impl Iterator<Item = impl Borrow<Pod>>,
) -> ResourceQuotaStatus {
    let used: Amounts = used(quota, pods)
        .into_iter()
        .map(|(name, amount)| (name.to_owned(), Amount(amount.to_string())))
        .collect();
    ResourceQuotaStatus {
        hard: quota.spec.as_ref().and_then(|spec| spec.hard.clone()),
        used: Some(used),
    }
}

/// Why a quota has no room for one more pod, if it has none.
pub(crate) fn refuses(
    quota: &ResourceQuota,
    pods: impl Iterator<Item = impl Borrow<Pod>>,
    pod: &Pod,
) -> Option<String> {
    let name = quota.metadata.name.as_deref().unwrap_or_default();
    let containers = || pod.spec.iter().flat_map(|spec| &spec.containers);
    let unset: Vec<String> = hard(quota)
        .filter_map(|(name, _)| {
            let counted = Counted::parse(name)?;
            if matches!(counted, Counted::Pods) {
                return None;
            }
            let missing: Vec<&str> = containers()
                .filter(|container| counted.given(container).is_none())
                .map(|container| container.name.as_str())
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
    let used = used(quota, pods);
    for (resource, most) in hard(quota) {
        let (Some(used), Some(counted), Some(most)) = (
            used.get(resource.as_str()),
            Counted::parse(resource),
            quantity(most),
        ) else {
            continue;
        };
        let more = counted.asked(pod);
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
    use serde_json::Value;

    use super::*;

    fn pod(cpu: &str, phase: &str) -> Pod {
        typed::read(&json!({
            "spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": cpu}}}]},
            "status": {"phase": phase},
        }))
        .expect("a pod")
    }

    fn quota(hard: &Value) -> ResourceQuota {
        let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
        typed::read(&quota).expect("a quota")
    }

    #[test]
    fn a_pod_that_does_not_fit_is_refused_with_the_sums() {
        let quota = quota(&json!({"pods": "2", "requests.cpu": "1"}));
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
        let quota = quota(&json!({"limits.memory": "1Gi"}));
        assert_eq!(
            refuses(&quota, [].iter(), &pod("1", "")).expect("refused"),
            "failed quota: q: must specify limits.memory for: a"
        );
    }
}
