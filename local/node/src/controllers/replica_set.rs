//! ReplicaSets: as many pods as are wanted.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
    core::Selector,
    runtime::{
        controller::{Action, Controller},
        watcher,
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    Error, api,
    controller::{self, RETRY},
    is_gone,
    slim::Slim,
};

/// Pods created or deleted at the same time for one ReplicaSet.
const AT_ONCE: usize = 16;

/// Pause after a create that the API refused, such as for a quota.
const REFUSED: Duration = Duration::from_secs(5);

pub(super) async fn run(client: Client, shutdown: CancellationToken) {
    let (sets, pods) = (
        Api::<Slim<ReplicaSet>>::all(client.clone()),
        Api::<Slim<Pod>>::all(client.clone()),
    );
    let controller =
        Controller::new(sets, watcher::Config::default()).owns(pods, watcher::Config::default());
    controller::run(controller, reconcile, client, shutdown).await;
}

async fn reconcile(seen: Arc<Slim<ReplicaSet>>, client: Arc<Client>) -> Result<Action, Error> {
    let namespace = seen.namespace().unwrap_or_default();
    let sets = Api::<ReplicaSet>::namespaced((*client).clone(), &namespace);
    let pods = Api::<Pod>::namespaced((*client).clone(), &namespace);
    let name = seen.name_any();
    let Some(set) = controller::current(&sets, &name, "read a ReplicaSet").await? else {
        return Ok(Action::await_change());
    };
    let Some(spec) = set.spec.clone() else {
        return Ok(Action::await_change());
    };
    let selector: Selector = spec.selector.clone().try_into().unwrap_or_default();
    let listed = pods
        .list(&ListParams::default().labels_from(&selector))
        .await
        .map_err(api("list pods"))?;
    let mut active: Vec<Pod> = listed
        .items
        .into_iter()
        .filter(|pod| is_active(pod) && is_owned(pod, &set))
        .collect();

    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    let mut refused = None;
    if active.len() < wanted {
        let missing = wanted - active.len();
        let created: Vec<_> = stream::iter(vec![(pods.clone(), set.clone()); missing])
            .map(async |(pods, set)| create(&pods, &set).await)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for result in created {
            match result {
                Ok(pod) => active.push(pod),
                Err(kube::Error::Api(status)) => refused = Some(status.message.clone()),
                Err(error) => return Err(api("create a pod")(error)),
            }
        }
    } else if active.len() > wanted {
        active.sort_by_cached_key(|pod| rank(pod, Timestamp::now()));
        let surplus: Vec<_> = active
            .drain(..active.len() - wanted)
            .map(|pod| (pods.clone(), pod))
            .collect();
        let deleted: Vec<_> = stream::iter(surplus)
            .map(async |(pods, pod)| delete(&pods, &pod).await)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        deleted.into_iter().collect::<Result<Vec<()>, _>>()?;
    }

    let delay = i64::from(spec.min_ready_seconds.unwrap_or(0));
    let next = status(&set, &active, delay, refused.clone(), Timestamp::now());
    if set.status.as_ref() != Some(&next) {
        write(&sets, &set, &next).await?;
    }
    Ok(match (refused, delay) {
        (Some(_), _) => Action::requeue(REFUSED),
        (None, 1..) if next.available_replicas != next.ready_replicas => Action::requeue(RETRY),
        _ => Action::await_change(),
    })
}

async fn write(
    sets: &Api<ReplicaSet>,
    set: &ReplicaSet,
    next: &ReplicaSetStatus,
) -> Result<(), Error> {
    let mut value = serde_json::to_value(next)?;
    // In a merge patch only null takes a count away again.
    for name in [
        "readyReplicas",
        "availableReplicas",
        "fullyLabeledReplicas",
        "conditions",
    ] {
        if value.get(name).is_none() {
            value[name] = serde_json::Value::Null;
        }
    }
    let patch = Patch::Merge(serde_json::json!({ "status": value }));
    match sets
        .patch_status(&set.name_any(), &PatchParams::default(), &patch)
        .await
    {
        Err(error) if is_gone(&error) => Ok(()),
        result => result.map(drop).map_err(api("write a ReplicaSet's status")),
    }
}

fn is_active(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
}

fn is_owned(pod: &Pod, set: &ReplicaSet) -> bool {
    pod.owner_references().iter().any(|owner| {
        owner.controller == Some(true) && Some(&owner.uid) == set.metadata.uid.as_ref()
    })
}

async fn create(pods: &Api<Pod>, set: &ReplicaSet) -> kube::Result<Pod> {
    let template = set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.clone())
        .unwrap_or_default();
    let metadata = template.metadata.unwrap_or_default();
    let pod = Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.name_any())),
            labels: metadata.labels,
            annotations: metadata.annotations,
            finalizers: metadata.finalizers,
            owner_references: set.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    };
    pods.create(&PostParams::default(), &pod).await
}

async fn delete(pods: &Api<Pod>, pod: &Pod) -> Result<(), Error> {
    match pods.delete(&pod.name_any(), &DeleteParams::default()).await {
        Err(error) if is_gone(&error) => Ok(()),
        result => result.map(drop).map_err(api("delete a pod")),
    }
}

/// The order in which pods go, first ones first: not running before running, not ready before
/// ready, cheaper before dearer by their deletion cost, more restarts before fewer, younger before
/// older (<https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-a-replicaset>).
fn rank(pod: &Pod, now: Timestamp) -> (u8, bool, i64, Reverse<i32>, i64) {
    let status = pod.status.as_ref();
    let phase = match status.and_then(|status| status.phase.as_deref()) {
        None | Some("Pending") => 0,
        Some("Running") => 2,
        Some(_) => 1,
    };
    let cost = pod
        .annotations()
        .get("controller.kubernetes.io/pod-deletion-cost")
        .and_then(|cost| cost.parse().ok());
    let restarts = status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten())
        .map(|status| status.restart_count)
        .max();
    let created = pod
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(now, |time| time.0);
    (
        phase,
        ready_since(pod).is_some(),
        cost.unwrap_or(0),
        Reverse(restarts.unwrap_or(0)),
        now.as_second() - created.as_second(),
    )
}

fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    Some(
        ready
            .last_transition_time
            .as_ref()
            .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
    )
}

fn status(
    set: &ReplicaSet,
    active: &[Pod],
    delay: i64,
    refused: Option<String>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let some = |number: i32| (number > 0).then_some(number);
    let ready = active
        .iter()
        .filter(|pod| ready_since(pod).is_some())
        .count();
    let available = active
        .iter()
        .filter(|pod| {
            ready_since(pod).is_some_and(|since| now.as_second() - since.as_second() >= delay)
        })
        .count();
    let before = set
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .find(|condition| condition.type_ == "ReplicaFailure");
    let failure = refused.map(|message| ReplicaSetCondition {
        type_: "ReplicaFailure".to_owned(),
        status: "True".to_owned(),
        reason: Some("FailedCreate".to_owned()),
        message: Some(message),
        last_transition_time: before.map_or_else(
            || Some(Time(now)),
            |before| before.last_transition_time.clone(),
        ),
    });
    ReplicaSetStatus {
        replicas: count(active.len()),
        fully_labeled_replicas: some(count(active.len())),
        ready_replicas: some(count(ready)),
        available_replicas: some(count(available)),
        observed_generation: set.metadata.generation,
        conditions: failure.map(|failure| vec![failure]),
        ..ReplicaSetStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(phase: &str, ready: bool, cost: &str, created: &str) -> Pod {
        let ready = if ready { "True" } else { "False" };
        serde_json::from_value(json!({
            "metadata": {
                "creationTimestamp": created,
                "annotations": {"controller.kubernetes.io/pod-deletion-cost": cost},
            },
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": created}]},
        }))
        .unwrap()
    }

    #[test]
    fn useless_cheap_and_young_pods_go_first() {
        let (old, young) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let order = [
            pod("Pending", false, "9", old),
            pod("Running", false, "9", old),
            pod("Running", true, "-1", old),
            pod("Running", true, "0", young),
            pod("Running", true, "0", old),
        ];
        let ranks: Vec<_> = order
            .iter()
            .map(|pod| rank(pod, Timestamp::now()))
            .collect();
        assert!(ranks.is_sorted(), "{ranks:?}");
    }
}
