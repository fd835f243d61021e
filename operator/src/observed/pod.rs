//! Pods of Revisions, and what keeps them from working.

use fermata_crds::{names, pod_failure::StartFailure, pods};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodCondition};

use super::Observed;

/// Whether a pod works, and if not, why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PodState {
    /// The Revision whose ReplicaSet controls the pod.
    pub(crate) revision: Option<String>,
    /// The pod's condition Ready.
    pub(crate) ready: bool,
    /// What keeps it from working.
    pub(crate) trouble: Option<Trouble>,
    /// Its containers run and it is not ready.
    pub(crate) unready: Option<Unready>,
    /// Its dependencies are installed.
    pub(crate) built: bool,
    /// It is one that builds an image.
    pub(crate) build: Option<Box<BuildPod>>,
}

/// A pod that builds an image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct BuildPod {
    /// The Revision that its label names. Everybody may write one: whose pod it is, its owner says.
    pub(crate) revision: String,
    /// One of its containers runs or has run.
    pub(crate) started: bool,
    /// What the container that pushes has told, once it has ended well.
    pub(crate) result: Option<String>,
    /// Why the pod was ended from outside, such as `Evicted`, if it was.
    pub(crate) interrupted: Option<String>,
}

/// Containers that run in a pod that is not ready.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Unready {
    /// When the last of them started, or when the pod lost its readiness.
    pub(crate) since: Timestamp,
    /// It has been ready since they started.
    pub(crate) lost: bool,
    /// Those that are not ready; none where the pod is not for another reason.
    pub(crate) containers: Vec<String>,
    /// One of these has a startup probe that has not passed.
    pub(crate) starting: bool,
    /// The cluster's own sentence.
    pub(crate) message: String,
}

/// What keeps a pod from working, in the cluster's own words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Trouble {
    /// The image cannot be had.
    Image { reason: String, message: String },
    /// The container cannot be made, such as for a missing Secret.
    Container { reason: String, message: String },
    /// A container ends again and again.
    Crash(Crash),
    /// No node can take the pod.
    Unschedulable { message: String },
    /// The pod was evicted or refused by its node.
    Failed { reason: String, message: String },
}

/// How a container ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Crash {
    pub(crate) container: String,
    pub(crate) exit_code: i32,
    /// Such as `OOMKilled`; the plain `Error` says nothing and is left out.
    pub(crate) reason: Option<String>,
    /// The container's termination message.
    pub(crate) message: Option<String>,
}

/// A Pod as far as it is known.
pub(crate) type ObservedPod = Observed<Pod, PodState>;

/// Reduces a Pod.
pub(crate) fn observe(pod: Pod) -> ObservedPod {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let condition = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready");
    let ready = condition.is_some_and(|condition| condition.status == "True");
    let state = PodState {
        revision: pods::revision_of(&pod.metadata).map(str::to_owned),
        ready,
        trouble: if ready { None } else { trouble(&pod) },
        unready: condition.and_then(|condition| unready(&pod, condition)),
        built: is_built(&pod),
        build: build(&pod),
    };
    Observed::new(&pod, state)
}

/// How long after the start of its containers the cluster may have taken down that a pod is not ready
/// yet; later, it was ready in between.
const FIRST_VERDICT: SignedDuration = SignedDuration::from_secs(1);

fn unready(pod: &Pod, ready: &PodCondition) -> Option<Unready> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.as_deref()?;
    let started: Option<Vec<Timestamp>> = containers.iter().map(running_since).collect();
    let started = started?.into_iter().max()?;
    if ready.status == "True" || status.phase.as_deref() != Some("Running") {
        return None;
    }
    let turned = ready.last_transition_time.as_ref();
    let turned = turned.map_or(started, |time| time.0);
    let waiting = containers.iter().filter(|container| !container.ready);
    let message = ready.message.as_ref().or(ready.reason.as_ref());
    Some(Unready {
        since: started.max(turned),
        lost: turned.duration_since(started) > FIRST_VERDICT,
        containers: waiting
            .clone()
            .map(|container| container.name.clone())
            .collect(),
        starting: waiting
            .into_iter()
            .any(|container| container.started == Some(false)),
        message: message.cloned().unwrap_or_default(),
    })
}

fn is_built(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.init_container_statuses.as_deref());
    containers.into_iter().flatten().any(|container| {
        let state = container.state.as_ref();
        let ended = state.and_then(|state| state.terminated.as_ref());
        container.name == names::BUILD_CONTAINER && ended.is_some_and(|ended| ended.exit_code == 0)
    })
}

fn build(pod: &Pod) -> Option<Box<BuildPod>> {
    let labels = pod.metadata.labels.as_ref()?;
    let revision = labels.get(names::IMAGE_BUILD_LABEL)?.clone();
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_deref());
    let main = status.and_then(|status| status.container_statuses.as_deref());
    let ended = |container: &ContainerStatus| container.state.clone()?.terminated;
    let mut all = init.into_iter().chain(main).flatten();
    let push = main
        .into_iter()
        .flatten()
        .find(|container| container.name == names::PUSH_CONTAINER);
    let push = push.and_then(ended).filter(|ended| ended.exit_code == 0);
    Some(Box::new(BuildPod {
        revision,
        started: all
            .any(|container| running_since(container).is_some() || ended(container).is_some()),
        result: push.and_then(|ended| ended.message),
        interrupted: interrupted(pod),
    }))
}

/// Why a pod was ended that was not at fault itself.
fn interrupted(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() != Some("Failed") {
        return None;
    }
    // Of those that are evicted these alone have filled a folder beyond its limit.
    let message = status.message.as_deref().unwrap_or_default();
    if message.contains("exceeds the limit") || message.contains("exceeded its local ephemeral") {
        return None;
    }
    let disrupted = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True");
    let by_node = status
        .reason
        .clone()
        .filter(|reason| reason != "DeadlineExceeded");
    by_node.or_else(|| disrupted.map(|condition| condition.reason.clone().unwrap_or_default()))
}

fn running_since(container: &ContainerStatus) -> Option<Timestamp> {
    let running = container.state.as_ref()?.running.as_ref()?;
    Some(running.started_at.as_ref()?.0)
}

fn trouble(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let init = status.init_container_statuses.as_deref();
    let main = status.container_statuses.as_deref();
    let containers = init
        .unwrap_or_default()
        .iter()
        .chain(main.unwrap_or_default());
    if let Some(trouble) = containers.filter_map(container_trouble).next() {
        return Some(trouble);
    }
    let unschedulable = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    });
    if let Some(condition) = unschedulable {
        let message = condition.message.clone().unwrap_or_default();
        return Some(Trouble::Unschedulable { message });
    }
    (status.phase.as_deref() == Some("Failed")).then(|| Trouble::Failed {
        reason: status.reason.clone().unwrap_or_else(|| "Failed".to_owned()),
        message: status.message.clone().unwrap_or_default(),
    })
}

fn container_trouble(status: &ContainerStatus) -> Option<Trouble> {
    let state = status.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let reason = waiting
        .and_then(|waiting| waiting.reason.as_deref())
        .unwrap_or_default();
    let message = waiting
        .and_then(|waiting| waiting.message.clone())
        .unwrap_or_default();
    let failure = StartFailure::of_waiting(reason);
    match failure {
        Some(StartFailure::Image) => {
            let reason = reason.to_owned();
            return Some(Trouble::Image { reason, message });
        }
        Some(StartFailure::Container) => {
            let reason = reason.to_owned();
            return Some(Trouble::Container { reason, message });
        }
        Some(StartFailure::CrashLoop) | None => {}
    }
    let ended = state.and_then(|state| state.terminated.as_ref());
    let last = status
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    // A container that ended well and is not the function itself is an init container that is done.
    let crash = match (ended, last) {
        (Some(ended), _) if ended.exit_code != 0 || status.name == names::CONTAINER => {
            crash(status, ended)
        }
        (None, Some(last)) if failure.is_some() || status.restart_count > 0 => crash(status, last),
        (None, None) if failure.is_some() => {
            let reason = reason.to_owned();
            return Some(Trouble::Container { reason, message });
        }
        _ => return None,
    };
    Some(Trouble::Crash(crash))
}

fn crash(status: &ContainerStatus, ended: &ContainerStateTerminated) -> Crash {
    Crash {
        container: status.name.clone(),
        exit_code: ended.exit_code,
        reason: ended
            .reason
            .clone()
            .filter(|reason| reason != "Error" && reason != "Completed"),
        message: ended
            .message
            .clone()
            .filter(|message| !message.trim().is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn trouble_of(status: Value) -> Option<Trouble> {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": []}, "status": status});
        observe(serde_json::from_value(pod).expect("a Pod"))
            .trouble
            .clone()
    }

    fn container(state: Value, last: Value, restarts: i32) -> Value {
        json!({"containerStatuses": [{
            "name": "function", "image": "", "imageID": "", "ready": false,
            "restartCount": restarts, "state": state, "lastState": last,
        }]})
    }

    #[test]
    fn waiting_reasons_become_troubles() {
        let pull = json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}});
        assert_eq!(
            trouble_of(container(pull, json!({}), 0)),
            Some(Trouble::Image {
                reason: "ErrImagePull".into(),
                message: "no such image".into()
            })
        );
        let config = json!({"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"s\" not found"}});
        assert!(matches!(
            trouble_of(container(config, json!({}), 0)),
            Some(Trouble::Container { .. })
        ));
        let hook = json!({"waiting": {"reason": "PostStartHookError", "message": "it failed"}});
        assert!(matches!(
            trouble_of(container(hook, json!({}), 0)),
            Some(Trouble::Container { .. })
        ));
        let starting = json!({"waiting": {"reason": "ContainerCreating"}});
        assert_eq!(trouble_of(container(starting, json!({}), 0)), None);
    }

    #[test]
    fn a_crash_is_told_while_the_container_is_down_waits_and_runs_again() {
        let ended = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let running = json!({"running": {}});
        for (state, last, restarts) in [
            (ended.clone(), json!({}), 0),
            (waiting, ended.clone(), 2),
            (running, ended, 2),
        ] {
            let Some(Trouble::Crash(crash)) = trouble_of(container(state, last, restarts)) else {
                panic!("no crash");
            };
            assert_eq!((crash.exit_code, crash.reason), (1, None));
        }
    }

    #[test]
    fn a_crash_loop_is_told_where_nobody_says_how_it_ended() {
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
        assert_eq!(
            trouble_of(container(waiting, json!({}), 0)),
            Some(Trouble::Container {
                reason: "CrashLoopBackOff".into(),
                message: "back-off 10s".into()
            })
        );
    }

    #[test]
    fn a_ready_pod_has_no_trouble_whatever_came_before() {
        let mut status = container(
            json!({"running": {}}),
            json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            3,
        );
        status["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        assert_eq!(trouble_of(status), None);
    }

    #[test]
    fn a_pod_that_runs_unready_says_since_when_and_whether_it_was_ready_before() {
        let observed = |started: &str, turned: &str| {
            let status = json!({"phase": "Running",
                "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": turned,
                    "reason": "ContainersNotReady",
                    "message": "containers with unready status: [function]"}],
                "containerStatuses": [
                    {"name": "function", "image": "", "imageID": "", "ready": false,
                        "restartCount": 0, "started": true,
                        "state": {"running": {"startedAt": started}}},
                    {"name": "side", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]});
            let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": []},
                "status": status});
            let pod = observe(serde_json::from_value(pod).expect("a Pod"));
            pod.unready.clone().expect("it is unready")
        };
        let never = observed("2026-01-01T00:00:10Z", "2026-01-01T00:00:05Z");
        assert!(!never.lost && !never.starting);
        assert_eq!(never.since.to_string(), "2026-01-01T00:00:10Z");
        assert_eq!(never.containers, ["function"]);
        let lost = observed("2026-01-01T00:00:10Z", "2026-01-01T01:00:00Z");
        assert!(lost.lost);
        assert_eq!(lost.since.to_string(), "2026-01-01T01:00:00Z");
        assert!(lost.message.contains("[function]"));
    }

    #[test]
    fn pods_that_no_node_takes_or_keeps_say_why() {
        let status = json!({"phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient cpu.",
        }]});
        assert!(
            matches!(trouble_of(status), Some(Trouble::Unschedulable { message }) if message.contains("cpu"))
        );
        let status = json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"});
        assert!(
            matches!(trouble_of(status), Some(Trouble::Failed { reason, .. }) if reason == "Evicted")
        );
    }
}
