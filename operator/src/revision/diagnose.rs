//! Why a Revision does not work, in the cluster's own words. Pure.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{
    observed::{
        deployment::ObservedDeployment,
        pod::{Crash, ObservedPod, Trouble},
    },
    reasons,
};

/// Something that keeps a Revision from working.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// It is for want of room: replicas that run already are not at fault.
    pub(crate) capacity: bool,
}

/// A container that crashed, whose log may say why.
pub(crate) struct Crashed<'a> {
    pub(crate) pod: &'a ObservedPod,
    pub(crate) crash: &'a Crash,
}

/// What keeps the Revision from working, if anything is known to.
///
/// `log` is the last line of the log of the container that [`crashed`] names. `previous` is the
/// condition as it was: Kubernetes tells the cause of a failed pull only now and then, and "back
/// off" in between.
pub(crate) fn diagnose(
    deployment: &ObservedDeployment,
    pods: &[Arc<ObservedPod>],
    log: Option<&str>,
    previous: Option<&Condition>,
) -> Option<Failure> {
    if let Some(trouble) = worst(pods) {
        return Some(pod_failure(trouble, log, previous));
    }
    if let Some(message) = &deployment.replica_failure {
        let reason = if message.contains("exceeded quota") {
            reasons::QUOTA_EXCEEDED
        } else {
            reasons::REPLICA_FAILURE
        };
        return Some(Failure {
            reason,
            message: message.clone(),
            capacity: true,
        });
    }
    deployment.stalled.as_ref().map(|message| Failure {
        reason: reasons::NOT_READY_IN_TIME,
        message: format!(
            "the replicas run but do not become ready ({message}); does the function listen on $PORT, and does its readiness probe pass?"
        ),
        capacity: false,
    })
}

/// The container whose log is worth reading.
pub(crate) fn crashed(pods: &[Arc<ObservedPod>]) -> Option<Crashed<'_>> {
    pods.iter()
        .find_map(|pod| match (worst(pods), &pod.trouble) {
            (Some(Trouble::Crash(worst)), Some(Trouble::Crash(crash))) if worst == crash => {
                Some(Crashed { pod, crash })
            }
            _ => None,
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

fn pod_failure(trouble: &Trouble, log: Option<&str>, previous: Option<&Condition>) -> Failure {
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
        Trouble::Crash(crash) => (reasons::CRASH_LOOP, crash_message(crash, log)),
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

fn crash_message(crash: &Crash, log: Option<&str>) -> String {
    let who = if crash.container == fermata_crds::names::CONTAINER {
        "the function".to_owned()
    } else {
        format!("the container {}", crash.container)
    };
    let why = crash
        .reason
        .as_ref()
        .map(|reason| format!(" ({reason})"))
        .unwrap_or_default();
    let mut message = format!("{who} ends with exit code {}{why}", crash.exit_code);
    if let Some(own) = &crash.message {
        message.push_str("; it says: ");
        message.push_str(own.trim());
    } else if let Some(line) = log {
        message.push_str("; the last line of its log: ");
        message.push_str(line);
    }
    message
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

    fn crashing(exit_code: i32, reason: &str) -> Arc<ObservedPod> {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": []},
            "status": {"containerStatuses": [{"name": "function", "image": "", "imageID": "",
                "ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": exit_code, "reason": reason}}}]}});
        Arc::new(pod::observe(serde_json::from_value(pod).expect("a Pod")))
    }

    fn failure(conditions: Value, pods: &[Arc<ObservedPod>], log: Option<&str>) -> Failure {
        diagnose(&deployment(conditions), pods, log, None).expect("a failure")
    }

    #[test]
    fn nothing_is_wrong_with_replicas_that_are_starting() {
        let pods = [waiting("ContainerCreating", "")];
        assert_eq!(diagnose(&deployment(json!([])), &pods, None, None), None);
    }

    #[test]
    fn a_used_up_quota_is_told_in_the_clusters_words() {
        let sentence = "pods \"x\" is forbidden: exceeded quota: small, requested: pods=1";
        let conditions = json!([{"type": "ReplicaFailure", "status": "True", "message": sentence}]);
        let failure = failure(conditions, &[], None);
        assert_eq!(failure.reason, reasons::QUOTA_EXCEEDED);
        assert_eq!(failure.message, sentence);
        assert!(failure.capacity);
    }

    #[test]
    fn the_cause_of_a_failed_pull_outlasts_the_back_off() {
        let first = failure(json!([]), &[waiting("ErrImagePull", "no such image")], None);
        assert_eq!(first.message, "ErrImagePull: no such image");
        let condition = Condition {
            reason: first.reason.to_owned(),
            message: first.message.clone(),
            ..serde_json::from_value(json!({"type": "Ready", "status": "False", "reason": "",
                "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}))
            .expect("a condition")
        };
        let pods = [waiting("ImagePullBackOff", "Back-off pulling image")];
        let later = diagnose(&deployment(json!([])), &pods, None, Some(&condition));
        assert_eq!(later, Some(first));
    }

    #[test]
    fn a_crash_is_told_with_its_exit_code_and_last_line() {
        let failure_ = failure(
            json!([]),
            &[crashing(1, "Error")],
            Some("No module named x"),
        );
        assert_eq!(failure_.reason, reasons::CRASH_LOOP);
        assert_eq!(
            failure_.message,
            "the function ends with exit code 1; the last line of its log: No module named x"
        );
        let killed = failure(json!([]), &[crashing(137, "OOMKilled")], None);
        assert!(killed.message.contains("137 (OOMKilled)"));
    }

    #[test]
    fn an_image_that_wants_to_be_root_gets_a_way_out() {
        let sentence = "container has runAsNonRoot and image will run as root";
        let pods = [waiting("CreateContainerConfigError", sentence)];
        let failure = failure(json!([]), &pods, None);
        assert!(failure.message.contains(sentence) && failure.message.contains("baseline"));
    }
}
