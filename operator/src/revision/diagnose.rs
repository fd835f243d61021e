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

/// How many characters of a container's last line are told.
const LONGEST_LINE: usize = 512;

/// Something that keeps a Revision from working.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// It is for want of room: replicas that run already are not at fault.
    pub(crate) capacity: bool,
}

/// What keeps the Revision from working, if anything is known to.
///
/// `previous` is the condition as it was: Kubernetes tells the cause of a failed pull only now and
/// then, and "back off" in between.
pub(crate) fn diagnose(
    deployment: &ObservedDeployment,
    pods: &[Arc<ObservedPod>],
    previous: Option<&Condition>,
) -> Option<Failure> {
    if let Some(trouble) = worst(pods) {
        return Some(pod_failure(trouble, previous));
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
        Trouble::Crash(crash) => (reasons::CRASH_LOOP, crash_message(crash)),
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

fn crash_message(crash: &Crash) -> String {
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
    // The pod asks for the end of its log as termination message; its last line is the one that
    // matters.
    let said = crash.message.as_deref().unwrap_or_default();
    if let Some(line) = said.lines().rev().find(|line| !line.trim().is_empty()) {
        message.push_str("; its last words: ");
        message.extend(line.trim().chars().take(LONGEST_LINE));
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

    fn crashing(exit_code: i32, reason: &str, message: &str) -> Arc<ObservedPod> {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": []},
            "status": {"containerStatuses": [{"name": "function", "image": "", "imageID": "",
                "ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": exit_code, "reason": reason, "message": message}}}]}});
        Arc::new(pod::observe(serde_json::from_value(pod).expect("a Pod")))
    }

    fn failure(conditions: Value, pods: &[Arc<ObservedPod>]) -> Failure {
        diagnose(&deployment(conditions), pods, None).expect("a failure")
    }

    #[test]
    fn nothing_is_wrong_with_replicas_that_are_starting() {
        let pods = [waiting("ContainerCreating", "")];
        assert_eq!(diagnose(&deployment(json!([])), &pods, None), None);
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
        let later = diagnose(&deployment(json!([])), &pods, Some(&condition));
        assert_eq!(later, Some(first));
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
    fn an_image_that_wants_to_be_root_gets_a_way_out() {
        let sentence = "container has runAsNonRoot and image will run as root";
        let pods = [waiting("CreateContainerConfigError", sentence)];
        let failure = failure(json!([]), &pods);
        assert!(failure.message.contains(sentence) && failure.message.contains("baseline"));
    }
}
