//! Why a Revision does not work, in the cluster's own words. Pure.

use std::{sync::Arc, time::Duration};

use fermata_crds::names;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::crash;
use crate::{
    observed::{
        deployment::ObservedDeployment,
        pod::{ObservedPod, Trouble, Unready},
    },
    reasons,
};

/// How long a pod that was ready may be unready before that is told.
const LOST_GRACE: Duration = Duration::from_secs(30);

/// Something that keeps a Revision from working.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// It is for want of room: replicas that run already are not at fault.
    pub(crate) capacity: bool,
}

/// What is known against a Revision.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Diagnosis {
    /// What keeps it from working, if anything is known to.
    pub(crate) failure: Option<Failure>,
    /// When to look again although nothing is seen to change: a pod may be unready for no longer.
    pub(crate) again: Option<Duration>,
}

/// What keeps the Revision from working, if anything is known to.
///
/// `patience` is how long a start may take. `previous` is the condition as it was: Kubernetes tells the
/// cause of a failed pull only now and then, and "back off" in between.
pub(crate) fn diagnose(
    deployment: &ObservedDeployment,
    pods: &[Arc<ObservedPod>],
    patience: Duration,
    previous: Option<&Condition>,
    now: Timestamp,
) -> Diagnosis {
    let due: Vec<(Duration, &ObservedPod)> = pods
        .iter()
        .filter_map(|pod| Some((due_in(pod.unready.as_ref()?, patience, now), &**pod)))
        .collect();
    let overdue = due.iter().filter(|(due, _)| due.is_zero());
    let overdue: Vec<&ObservedPod> = overdue.map(|(_, pod)| *pod).collect();
    let again = due.iter().map(|(due, _)| *due).filter(|due| !due.is_zero());
    // What runs for as long as that is not at fault for how it ended before.
    let runs_on = |pod: &ObservedPod| {
        let crashed = matches!(pod.trouble, Some(Trouble::Crash(_)));
        crashed && overdue.iter().any(|other| other.uid == pod.uid)
    };
    let troubled = pods.iter().filter(|pod| !runs_on(pod));
    let troubled: Vec<Arc<ObservedPod>> = troubled.cloned().collect();
    let failure = worst(&troubled)
        .map(|trouble| pod_failure(trouble, previous))
        .or_else(|| replica_failure(deployment))
        .or_else(|| unready_failure(&overdue))
        .or_else(|| stalled(deployment));
    Diagnosis {
        failure,
        again: again.min(),
    }
}

/// How much longer the pod may be unready before that is told: as long as a start may take, or a moment
/// where it was ready before.
fn due_in(unready: &Unready, patience: Duration, now: Timestamp) -> Duration {
    let grace = if unready.lost { LOST_GRACE } else { patience };
    let elapsed = Duration::try_from(now.duration_since(unready.since)).unwrap_or_default();
    grace.saturating_sub(elapsed)
}

fn replica_failure(deployment: &ObservedDeployment) -> Option<Failure> {
    let message = deployment.replica_failure.as_ref()?;
    let reason = if message.contains("exceeded quota") {
        reasons::QUOTA_EXCEEDED
    } else {
        reasons::REPLICA_FAILURE
    };
    Some(Failure {
        reason,
        message: message.clone(),
        capacity: true,
    })
}

fn stalled(deployment: &ObservedDeployment) -> Option<Failure> {
    deployment.stalled.as_ref().map(|message| Failure {
        reason: reasons::NOT_READY_IN_TIME,
        message: format!(
            "the replicas run but do not become ready ({message}); does the function listen on $PORT, and does its readiness probe pass?"
        ),
        capacity: false,
    })
}

/// What is told of the pod that is unready for the longest time. It has no name of a pod, so that it
/// stays the same while pods come and go.
fn unready_failure(overdue: &[&ObservedPod]) -> Option<Failure> {
    let unready = overdue.iter().filter_map(|pod| pod.unready.as_ref());
    let unready = unready.min_by_key(|unready| unready.since)?;
    let own = [names::CONTAINER];
    let who = match unready.containers.as_slice() {
        [] => {
            return Some(Failure {
                reason: reasons::NOT_READY,
                message: format!("the replicas run and are not ready: {}", unready.message),
                capacity: false,
            });
        }
        only if only == own => "the function".to_owned(),
        [one] => format!("the container {one}"),
        several => format!("the containers {}", several.join(", ")),
    };
    let what = match (unready.starting, unready.lost) {
        (true, _) => format!("the startup probe of {who} has not passed"),
        (false, false) => format!("the readiness probe of {who} has not passed since it started"),
        (false, true) => format!("the readiness probe of {who} fails"),
    };
    Some(Failure {
        reason: reasons::PROBE_FAILED,
        message: format!(
            "{what} ({}); does it listen on $PORT, and what does the probe get? See kubectl describe pod",
            unready.message
        ),
        capacity: false,
    })
}

/// The trouble that is told: what the function itself does first, what others do to it last. A pod
/// that failed for good is replaced, and counts only when there is no other.
fn worst(pods: &[Arc<ObservedPod>]) -> Option<&Trouble> {
    let rank = |trouble: &Trouble| match trouble {
        Trouble::Image { .. } => 0,
        Trouble::Container { .. } => 1,
        Trouble::Crash(_) => 2,
        Trouble::Unschedulable { .. } => 3,
        Trouble::Failed { .. } => 4,
    };
    let troubles = pods.iter().filter_map(|pod| pod.trouble.as_ref());
    troubles
        .min_by_key(|trouble| rank(trouble))
        .filter(|trouble| {
            !matches!(trouble, Trouble::Failed { .. })
                || pods
                    .iter()
                    .all(|pod| matches!(pod.trouble, Some(Trouble::Failed { .. })))
        })
}

fn pod_failure(trouble: &Trouble, previous: Option<&Condition>) -> Failure {
    let (reason, message) = match trouble {
        Trouble::Image { reason, message } => {
            let told = previous.filter(|previous| {
                previous.reason == reasons::IMAGE_PULL_FAILED
                    && reason == "ImagePullBackOff"
                    && !previous.message.starts_with(reason.as_str())
            });
            let message = told.map_or_else(
                || worded(reason, message),
                |previous| previous.message.clone(),
            );
            (reasons::IMAGE_PULL_FAILED, message)
        }
        Trouble::Container { reason, message } => {
            let mut message = worded(reason, message);
            if message.contains("runAsNonRoot") || message.contains("non-root") {
                message.push_str("; set security.runAsUser to a user of the image, or security.profile to baseline");
            }
            (reasons::CONTAINER_FAILED, message)
        }
        Trouble::Crash(crash) if crash.container == names::BUILD_CONTAINER => {
            crash::build_failure(crash)
        }
        Trouble::Crash(crash) if crash.container == names::FETCH_CONTAINER => {
            crash::fetch_failure(crash)
        }
        Trouble::Crash(crash) => (reasons::CRASH_LOOP, crash::sentence(crash)),
        Trouble::Unschedulable { message } => (reasons::UNSCHEDULABLE, message.clone()),
        Trouble::Failed { reason, message } => (reasons::POD_FAILED, worded(reason, message)),
    };
    Failure {
        reason,
        message,
        capacity: matches!(trouble, Trouble::Unschedulable { .. }),
    }
}

fn worded(reason: &str, message: &str) -> String {
    match message.trim() {
        "" => reason.to_owned(),
        message => format!("{reason}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::observed::{deployment, pod};

    fn deployment(conditions: Value) -> ObservedDeployment {
        let deployment = json!({"metadata": {"name": "r"},
            "spec": {"replicas": 1, "selector": {}, "template": {}},
            "status": {"conditions": conditions}});
        deployment::observe(serde_json::from_value(deployment).expect("a Deployment"))
    }

    fn waiting(reason: &str, message: &str) -> Arc<ObservedPod> {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": []},
            "status": {"containerStatuses": [{"name": "function", "image": "", "imageID": "",
                "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": reason, "message": message}}}]}});
        Arc::new(pod::observe(serde_json::from_value(pod).expect("a Pod")))
    }

    fn crashing(exit_code: i32, reason: &str, message: &str) -> Arc<ObservedPod> {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": []},
            "status": {"containerStatuses": [{"name": "function", "image": "", "imageID": "",
                "ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": exit_code, "reason": reason, "message": message}}}]}});
        Arc::new(pod::observe(serde_json::from_value(pod).expect("a Pod")))
    }

    const PATIENCE: Duration = Duration::from_secs(120);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn diagnosed(conditions: Value, pods: &[Arc<ObservedPod>], second: i64) -> Diagnosis {
        let deployment = deployment(conditions);
        diagnose(&deployment, pods, PATIENCE, None, at(second))
    }

    fn failure(conditions: Value, pods: &[Arc<ObservedPod>]) -> Failure {
        diagnosed(conditions, pods, 0).failure.expect("a failure")
    }

    /// A pod that runs since second 0 and is unready since this one.
    fn unready(container: &str, turned: i64, last: Value) -> Arc<ObservedPod> {
        let pod = json!({"metadata": {"name": "p", "uid": container}, "spec": {"containers": []},
            "status": {"phase": "Running",
                "conditions": [{"type": "Ready", "status": "False",
                    "lastTransitionTime": at(turned).to_string(),
                    "message": format!("containers with unready status: [{container}]")}],
                "containerStatuses": [{"name": container, "image": "", "imageID": "",
                    "ready": false, "restartCount": 1, "started": true, "lastState": last,
                    "state": {"running": {"startedAt": at(0).to_string()}}}]}});
        Arc::new(pod::observe(serde_json::from_value(pod).expect("a Pod")))
    }

    #[test]
    fn nothing_is_wrong_with_replicas_that_are_starting() {
        let pods = [waiting("ContainerCreating", "")];
        assert_eq!(diagnosed(json!([]), &pods, 1000), Diagnosis::default());
    }

    #[test]
    fn a_used_up_quota_is_told_in_the_clusters_words() {
        let sentence = "pods \"x\" is forbidden: exceeded quota: small, requested: pods=1";
        let conditions = json!([{"type": "ReplicaFailure", "status": "True", "message": sentence}]);
        let failure = failure(conditions, &[]);
        assert_eq!(failure.reason, reasons::QUOTA_EXCEEDED);
        assert_eq!(failure.message, sentence);
        assert!(failure.capacity);
    }

    #[test]
    fn the_cause_of_a_failed_pull_outlasts_the_back_off() {
        let first = failure(json!([]), &[waiting("ErrImagePull", "no such image")]);
        assert_eq!(first.message, "ErrImagePull: no such image");
        let condition = Condition {
            reason: first.reason.to_owned(),
            message: first.message.clone(),
            ..serde_json::from_value(json!({"type": "Ready", "status": "False", "reason": "",
                "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}))
            .expect("a condition")
        };
        let pods = [waiting("ImagePullBackOff", "Back-off pulling image")];
        let deployment = deployment(json!([]));
        let later = diagnose(&deployment, &pods, PATIENCE, Some(&condition), at(0));
        assert_eq!(later.failure, Some(first));
    }

    #[test]
    fn a_crash_is_told_with_its_exit_code_and_last_line() {
        let log = "Traceback (most recent call last):\nNo module named x\n\n";
        let raised = failure(json!([]), &[crashing(1, "Error", log)]);
        assert_eq!(raised.reason, reasons::CRASH_LOOP);
        assert_eq!(
            raised.message,
            "the function ends with exit code 1; its last words: No module named x"
        );
        let killed = failure(json!([]), &[crashing(137, "OOMKilled", "")]);
        assert!(killed.message.contains("137 (OOMKilled)"));
    }

    #[test]
    fn a_pod_that_stays_unready_is_told_after_a_grace_and_looked_at_again_until_then() {
        let lost = [unready("function", 500, json!({}))];
        let soon = diagnosed(json!([]), &lost, 510);
        assert_eq!(soon.failure, None);
        assert_eq!(soon.again, Some(Duration::from_secs(20)));
        let late = diagnosed(json!([]), &lost, 530);
        assert_eq!(late.again, None);
        let failure = late.failure.expect("a failure");
        assert_eq!(failure.reason, reasons::PROBE_FAILED);
        assert!(
            failure.message.starts_with(
                "the readiness probe of the function fails (containers with unready status: [function])"
            ),
            "{}",
            failure.message
        );

        // One that has never been ready has as long as a start may take.
        let never = [unready("beside", 0, json!({}))];
        assert_eq!(diagnosed(json!([]), &never, 119).failure, None);
        let failure = diagnosed(json!([]), &never, 120)
            .failure
            .expect("a failure");
        assert!(
            failure
                .message
                .contains("the container beside has not passed")
        );
    }

    #[test]
    fn a_crash_of_long_ago_does_not_hide_a_probe_that_fails() {
        let last = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
        let pods = [unready("function", 0, last)];
        let reason = |second| {
            let failure = diagnosed(json!([]), &pods, second).failure;
            failure.map(|failure| failure.reason)
        };
        assert_eq!(reason(5), Some(reasons::CRASH_LOOP));
        assert_eq!(reason(121), Some(reasons::PROBE_FAILED));
    }

    #[test]
    fn an_image_that_wants_to_be_root_gets_a_way_out() {
        let sentence = "container has runAsNonRoot and image will run as root";
        let pods = [waiting("CreateContainerConfigError", sentence)];
        let failure = failure(json!([]), &pods);
        assert!(failure.message.contains(sentence) && failure.message.contains("baseline"));
    }
}
