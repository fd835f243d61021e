//! What a Deployment's status says of its ReplicaSets
//! (<https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status>). Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt as _;

use crate::controllers::rollout;

/// The status, from what the ReplicaSets have.
pub(super) fn status(
    deployment: &Deployment,
    replicas: i32,
    new: Option<&ReplicaSet>,
    old: &[ReplicaSet],
    now: Timestamp,
) -> DeploymentStatus {
    let all = || old.iter().chain(new);
    let sum = |count: fn(&k8s_openapi::api::apps::v1::ReplicaSetStatus) -> i32| -> i32 {
        all().filter_map(|set| set.status.as_ref()).map(count).sum()
    };
    let existing = sum(|status| status.replicas);
    let ready = sum(|status| status.ready_replicas.unwrap_or(0));
    let available = sum(|status| status.available_replicas.unwrap_or(0));
    let updated = new
        .and_then(|set| set.status.as_ref())
        .map_or(0, |status| status.replicas);
    let wanted: i32 = all().map(|set| rollout::Counts::of(set).wanted).sum();
    let some = |count: i32| (count != 0).then_some(count);
    let before = deployment.status.clone().unwrap_or_default();
    let unavailable = (wanted - available).max(0);
    let mut next = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(existing),
        updated_replicas: some(updated),
        ready_replicas: some(ready),
        available_replicas: some(available),
        unavailable_replicas: some(unavailable),
        collision_count: before.collision_count,
        ..DeploymentStatus::default()
    };
    next.conditions = Some(conditions(
        deployment, &before, &next, replicas, new, old, now,
    ));
    next
}

fn conditions(
    deployment: &Deployment,
    before: &DeploymentStatus,
    next: &DeploymentStatus,
    replicas: i32,
    new: Option<&ReplicaSet>,
    old: &[ReplicaSet],
    now: Timestamp,
) -> Vec<DeploymentCondition> {
    let name = deployment.name_any();
    let spec = deployment.spec.clone().unwrap_or_default();
    let condition = |type_: &str, status: bool, reason: &str, message: String, moved: bool| {
        let status = if status { "True" } else { "False" };
        let old = before
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == type_);
        let same = old.filter(|old| old.status == status);
        let unchanged = same.filter(|old| old.reason.as_deref() == Some(reason) && !moved);
        DeploymentCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            last_transition_time: same
                .map_or_else(|| Some(Time(now)), |old| old.last_transition_time.clone()),
            last_update_time: unchanged
                .map_or_else(|| Some(Time(now)), |old| old.last_update_time.clone()),
            reason: Some(reason.to_owned()),
            message: Some(message),
        }
    };
    let least = match rollout::Strategy::of(deployment, replicas) {
        rollout::Strategy::Recreate => replicas,
        rollout::Strategy::RollingUpdate { unavailable, .. } => {
            replicas - unavailable.min(replicas)
        }
    };
    let available = if next.available_replicas.unwrap_or(0) >= least {
        condition(
            "Available",
            true,
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.".into(),
            false,
        )
    } else {
        condition(
            "Available",
            false,
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.".into(),
            false,
        )
    };
    let mut conditions = vec![available];

    let set = new.map_or_else(|| name.clone(), kube::ResourceExt::name_any);
    let done = next.updated_replicas.unwrap_or(0) == replicas
        && next.replicas.unwrap_or(0) == replicas
        && next.available_replicas.unwrap_or(0) == replicas;
    let moved = next.updated_replicas.unwrap_or(0) > before.updated_replicas.unwrap_or(0)
        || next.ready_replicas.unwrap_or(0) > before.ready_replicas.unwrap_or(0)
        || next.available_replicas.unwrap_or(0) > before.available_replicas.unwrap_or(0)
        || before.observed_generation != next.observed_generation;
    let was = before
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "Progressing");
    let was_done = was.is_some_and(|was| was.reason.as_deref() == Some("NewReplicaSetAvailable"));
    let since = was
        .and_then(|was| was.last_update_time.as_ref())
        .map_or(now, |time| time.0);
    let deadline = i64::from(spec.progress_deadline_seconds.unwrap_or(600));
    let late = !was_done && !moved && now.as_second() - since.as_second() >= deadline;
    let template_changed = was_done && old.iter().any(|set| rollout::Counts::of(set).existing > 0);
    if done || (was_done && !template_changed) {
        // Pods that come and go later are no rollout.
        conditions.push(condition(
            "Progressing",
            true,
            "NewReplicaSetAvailable",
            format!("ReplicaSet \"{set}\" has successfully progressed."),
            false,
        ));
    } else if late {
        conditions.push(condition(
            "Progressing",
            false,
            "ProgressDeadlineExceeded",
            format!("ReplicaSet \"{set}\" has timed out progressing."),
            false,
        ));
    } else {
        conditions.push(condition(
            "Progressing",
            true,
            "ReplicaSetUpdated",
            format!("ReplicaSet \"{set}\" is progressing."),
            moved,
        ));
    }
    let failure = new.into_iter().chain(old).find_map(|set| {
        set.status
            .as_ref()?
            .conditions
            .as_ref()?
            .iter()
            .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")
            .cloned()
    });
    if let Some(failure) = failure {
        let reason = failure.reason.unwrap_or_else(|| "FailedCreate".into());
        conditions.push(condition(
            "ReplicaFailure",
            true,
            &reason,
            failure.message.unwrap_or_default(),
            false,
        ));
    }
    conditions
}

/// Time until a rollout that does not move is late.
pub(super) fn time_to_deadline(status: &DeploymentStatus, deadline: i32) -> Option<Duration> {
    let progressing = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "Progressing")?;
    if progressing.reason.as_deref() != Some("ReplicaSetUpdated") {
        return None;
    }
    let since = progressing.last_update_time.as_ref()?.0;
    let left = since.as_second() + i64::from(deadline) - Timestamp::now().as_second();
    u64::try_from(left).ok().map(Duration::from_secs)
}
