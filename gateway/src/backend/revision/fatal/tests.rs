use super::*;
use crate::backend::{deployment::DeploymentState, revision::TrackedPod};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn observed(pods: Vec<PodState>) -> Observed {
    Observed {
        deployment: Some(DeploymentState {
            replicas: 2,
            ..DeploymentState::default()
        }),
        pods: pods.into_iter().map(TrackedPod::new).collect(),
        ..Observed::default()
    }
}

fn pod(reason: &str, last_exit: Option<&str>, restarts: u32) -> PodState {
    PodState {
        name: "hello-00001-x".into(),
        restarts,
        trouble: Some(Trouble {
            container: "function".into(),
            reason: reason.into(),
            message: "because".into(),
            last_exit: last_exit.map(Into::into),
        }),
        ..PodState::default()
    }
}

#[test]
fn an_image_that_cannot_be_pulled_is_told_at_once() {
    let text = fatal_reason(&observed(vec![pod("ErrImagePull", None, 0)]), at(0)).unwrap();
    assert_eq!(
        text,
        "container function of pod hello-00001-x: ErrImagePull: because"
    );
}

#[test]
fn one_crash_is_tolerated_and_two_are_not() {
    let crashed = |restarts| observed(vec![pod("Error", Some("exit code 1: boom"), restarts)]);
    assert_eq!(fatal_reason(&crashed(0), at(0)), None);
    let text = fatal_reason(&crashed(1), at(0)).unwrap();
    assert!(text.ends_with("(last run: exit code 1: boom)"), "{text}");
    let looping = observed(vec![pod("CrashLoopBackOff", Some("exit code 1"), 1)]);
    assert!(fatal_reason(&looping, at(0)).is_some());
}

#[test]
fn a_container_that_is_being_made_is_no_trouble() {
    assert_eq!(
        fatal_reason(&observed(vec![pod("ContainerCreating", None, 0)]), at(0)),
        None
    );
    assert_eq!(
        fatal_reason(&observed(vec![pod("PodInitializing", None, 0)]), at(0)),
        None
    );
}

#[test]
fn one_hopeful_pod_is_enough() {
    let pods = vec![pod("ErrImagePull", None, 0), PodState::default()];
    assert_eq!(fatal_reason(&observed(pods), at(0)), None);
}

#[test]
fn unschedulable_must_last() {
    let waiting = PodState {
        name: "p".into(),
        unschedulable: Some((at(100), "0/1 nodes are available".into())),
        ..PodState::default()
    };
    let observed = observed(vec![waiting]);
    assert_eq!(fatal_reason(&observed, at(104)), None);
    let text = fatal_reason(&observed, at(106)).unwrap();
    assert_eq!(text, "pod p is Unschedulable: 0/1 nodes are available");
}

#[test]
fn a_quota_counts_only_where_there_is_no_pod() {
    let mut refused = observed(Vec::new());
    refused.deployment.as_mut().unwrap().failure = Some("exceeded quota".into());
    assert_eq!(
        fatal_reason(&refused, at(0)).as_deref(),
        Some("exceeded quota")
    );
    refused.pods.push(TrackedPod::new(PodState::default()));
    assert_eq!(fatal_reason(&refused, at(0)), None);
}

#[test]
fn a_deployment_that_took_too_long_is_given_up() {
    let mut overdue = observed(vec![PodState::default()]);
    overdue.deployment.as_mut().unwrap().overdue = Some("ProgressDeadlineExceeded: x".into());
    assert_eq!(
        fatal_reason(&overdue, at(0)).as_deref(),
        Some("ProgressDeadlineExceeded: x")
    );
    overdue.pods[0].usable = true;
    assert_eq!(fatal_reason(&overdue, at(0)), None);
}

#[test]
fn what_rests_at_zero_or_goes_away_is_not_doomed() {
    let mut resting = observed(vec![pod("ErrImagePull", None, 0)]);
    resting.deployment.as_mut().unwrap().replicas = 0;
    assert_eq!(fatal_reason(&resting, at(0)), None);
    let mut going = pod("ErrImagePull", None, 0);
    going.terminating = true;
    assert_eq!(fatal_reason(&observed(vec![going]), at(0)), None);
    assert_eq!(fatal_reason(&Observed::default(), at(0)), None);
}
