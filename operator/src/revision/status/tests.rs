use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::{fixtures::revision, observed::deployment::observe};

/// A Revision with its Deployment: wanted and ready replicas.
struct Scene {
    inputs: Inputs,
    applied: Applied,
}

impl Scene {
    fn new(initial: u32, wanted: i32, ready: i32) -> Self {
        let spec = format!(
            "{{ functionName: hello, template: {{ image: a }}, scale: {{ initial: {initial} }} }}"
        );
        let deployment = json!({"metadata": {"name": "hello-00001"},
            "spec": {"replicas": wanted, "selector": {}, "template": {}},
            "status": {"replicas": wanted, "readyReplicas": ready}});
        let deployment = observe(serde_json::from_value(deployment).expect("a Deployment"));
        Self {
            inputs: Inputs {
                revision: Arc::new(revision(&spec)),
                function: None,
                deployment: None,
                config_map: None,
                pods: Vec::new(),
                job: None,
                build_pods: Vec::new(),
                serving_ready: None,
            },
            applied: Applied {
                deployment: Some(Arc::new(deployment)),
                failure: None,
            },
        }
    }

    fn after(mut self, status: RevisionStatus) -> Self {
        Arc::make_mut(&mut self.inputs.revision).status = Some(status);
        self
    }

    fn status(&self, trouble: Option<&Failure>) -> RevisionStatus {
        status(
            &self.inputs,
            &self.applied,
            None,
            trouble,
            &Options::default(),
            Timestamp::UNIX_EPOCH,
        )
    }
}

fn failure(capacity: bool) -> Failure {
    Failure {
        reason: reasons::QUOTA_EXCEEDED,
        message: "exceeded quota".into(),
        capacity,
    }
}

fn told(status: &RevisionStatus, kind: &str) -> (String, String) {
    let condition = conditions::find(&status.conditions, kind).expect(kind);
    (condition.status.clone(), condition.reason.clone())
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[test]
fn a_trial_is_passed_when_all_that_were_started_are_ready() {
    for (initial, wanted, ready, proven) in [
        (1, 1, 0, false),
        (1, 1, 1, true),
        (1, 7, 6, false),
        (1, 7, 7, true),
        (0, 0, 0, true),
        (1, 0, 0, false),
    ] {
        let status = Scene::new(initial, wanted, ready).status(None);
        assert_eq!(status.has_been_ready, proven, "{initial} {wanted} {ready}");
    }
}

#[test]
fn a_trial_is_passed_with_fewer_where_there_is_no_room() {
    let scene = Scene::new(2, 7, 2);
    assert!(scene.status(Some(&failure(true))).has_been_ready);
    assert!(!scene.status(Some(&failure(false))).has_been_ready);
    assert!(
        !Scene::new(2, 7, 1)
            .status(Some(&failure(true)))
            .has_been_ready
    );
}

#[test]
fn resting_and_waking_keep_a_revision_ready() {
    let proven = Scene::new(1, 1, 1).status(None);
    let resting = Scene::new(1, 0, 0).after(proven.clone()).status(None);
    assert_eq!(told(&resting, conditions::READY), pair("True", "Ready"));
    assert_eq!(told(&resting, conditions::ACTIVE), pair("False", "AtZero"));
    let waking = Scene::new(1, 1, 0).after(resting).status(None);
    assert_eq!(told(&waking, conditions::READY), pair("True", "Ready"));
    assert_eq!(
        told(&waking, conditions::ACTIVE),
        pair("Unknown", "Starting")
    );
    assert!(waking.has_been_ready);
}

#[test]
fn a_failed_start_is_told_and_cleared_when_it_is_mended() {
    let proven = Scene::new(1, 1, 1).status(None);
    let failing = Scene::new(1, 1, 0)
        .after(proven)
        .status(Some(&failure(true)));
    assert_eq!(
        told(&failing, conditions::READY),
        pair("False", "QuotaExceeded")
    );
    assert_eq!(
        told(&failing, conditions::ACTIVE),
        pair("False", "QuotaExceeded")
    );
    let mended = Scene::new(1, 1, 1).after(failing).status(None);
    assert_eq!(told(&mended, conditions::READY), pair("True", "Ready"));
    assert_eq!(told(&mended, conditions::ACTIVE), pair("True", "Running"));
}

#[test]
fn one_bad_replica_among_good_ones_does_not_fail_a_revision_that_serves() {
    let proven = Scene::new(1, 3, 3).status(None);
    let status = Scene::new(1, 3, 2)
        .after(proven)
        .status(Some(&failure(false)));
    assert_eq!(told(&status, conditions::READY), pair("True", "Ready"));
}

#[test]
fn why_a_trial_failed_stays_true_after_it_was_given_up() {
    let failed = Scene::new(1, 1, 0).status(Some(&failure(false)));
    let given_up = Scene::new(1, 0, 0).after(failed).status(None);
    assert_eq!(
        told(&given_up, conditions::READY),
        pair("False", "QuotaExceeded")
    );
    assert!(!given_up.has_been_ready);
}

#[test]
fn children_that_cannot_be_made_fail_the_revision() {
    let mut scene = Scene::new(0, 0, 0);
    scene.applied = Applied {
        deployment: None,
        failure: Some(failure(false)),
    };
    let status = scene.status(None);
    assert_eq!(
        told(&status, conditions::READY),
        pair("False", "QuotaExceeded")
    );
    assert!(!status.has_been_ready);
}
