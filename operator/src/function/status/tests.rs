use std::sync::Arc;

use fermata_crds::{
    RevisionStatus,
    routes::{Claim, Claimant},
};

use super::*;
use crate::{
    fixtures::{function, inputs, revision},
    function::revisions::Revisions,
};

/// A Function with these Revisions: number, whether it has been ready, and its condition Ready.
struct Scene {
    inputs: Inputs,
    applied: Applied,
}

impl Scene {
    fn new(revisions: &[(u32, bool, Status, &str)]) -> Self {
        let revisions: Vec<_> = revisions
            .iter()
            .map(|&(number, has_been_ready, status, message)| {
                let mut one = revision("{ functionName: hello, template: { image: a } }");
                one.metadata.name = Some(format!("hello-{number:05}"));
                let ready = Outcome {
                    kind: conditions::READY,
                    status,
                    reason: if status == Status::True {
                        "Ready"
                    } else {
                        "CrashLoop"
                    }
                    .into(),
                    message: message.into(),
                };
                one.status = Some(RevisionStatus {
                    conditions: conditions::merge(&[], &[ready], None, Timestamp::UNIX_EPOCH),
                    has_been_ready,
                    replicas: Some(2),
                    ready_replicas: Some(1),
                    ..RevisionStatus::default()
                });
                Arc::new(one)
            })
            .collect();
        let current = revisions.last().map(|revision| revision.name_any());
        Self {
            inputs: inputs(function("{ image: a }")),
            applied: Applied {
                revisions: Revisions::new("hello", "function-uid", revisions),
                current,
                revision_refused: None,
                service: ServiceOutcome::Present,
            },
        }
    }

    fn status(&self) -> FunctionStatus {
        self.status_with(None)
    }

    fn status_with(&self, invalid: Option<&Invalid>) -> FunctionStatus {
        let options = Options::default();
        status(
            &self.inputs,
            &self.applied,
            invalid,
            &options,
            Timestamp::UNIX_EPOCH,
        )
    }
}

fn condition(status: &FunctionStatus, kind: &str) -> (String, String, String) {
    let condition = conditions::find(&status.conditions, kind).expect(kind);
    let (status, reason) = (condition.status.clone(), condition.reason.clone());
    (status, reason, condition.message.clone())
}

#[test]
fn a_working_function_is_ready_and_gets_all_requests() {
    let status = Scene::new(&[(1, true, Status::True, "")]).status();
    let (ready, reason, _) = condition(&status, conditions::READY);
    assert_eq!((ready.as_str(), reason.as_str()), ("True", "Ready"));
    assert_eq!(status.traffic[0].revision, "hello-00001");
    assert_eq!(status.traffic[0].percent, 100);
    assert_eq!((status.replicas, status.ready_replicas), (Some(2), Some(1)));
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(
        status.url.as_deref(),
        Some("http://hello.default.localhost")
    );
}

#[test]
fn a_first_revision_on_trial_is_not_ready_and_gets_nothing() {
    let status = Scene::new(&[(1, false, Status::Unknown, "")]).status();
    assert_eq!(condition(&status, conditions::READY).0, "Unknown");
    assert_eq!(condition(&status, conditions::ROUTABLE).0, "Unknown");
    assert!(status.traffic.is_empty());
    assert!(is_transient(&status));
}

#[test]
fn a_failing_new_revision_leaves_the_traffic_where_it_is_and_says_so() {
    let revisions = [
        (1, true, Status::True, ""),
        (
            2,
            false,
            Status::False,
            "the function ends with exit code 1",
        ),
    ];
    let status = Scene::new(&revisions).status();
    let (ready, reason, message) = condition(&status, conditions::READY);
    assert_eq!((ready.as_str(), reason.as_str()), ("False", "CrashLoop"));
    assert_eq!(
        message,
        "hello-00002: the function ends with exit code 1; hello-00001 keeps the traffic"
    );
    assert_eq!(status.traffic[0].revision, "hello-00001");
    assert_eq!(
        status.latest_created_revision.as_deref(),
        Some("hello-00002")
    );
    assert_eq!(condition(&status, conditions::ROUTABLE).0, "True");
}

#[test]
fn an_invalid_spec_is_told_while_the_old_revision_serves() {
    let scene = Scene::new(&[(1, true, Status::True, "")]);
    let status = scene.status_with(Some(&Invalid::RuntimeNotFound("pyton".into())));
    let (ready, reason, message) = condition(&status, conditions::READY);
    assert_eq!(
        (ready.as_str(), reason.as_str()),
        ("False", "RuntimeNotFound")
    );
    assert!(message.contains("pyton") && message.ends_with("hello-00001 keeps the traffic"));
}

#[test]
fn a_lost_host_names_the_winner_and_is_not_told_as_the_url() {
    let mut scene = Scene::new(&[(1, true, Status::True, "")]);
    scene.inputs.function = Arc::new(function("{ image: a, expose: { hosts: [a.example] } }"));
    let mut winner = function("{ image: a }");
    winner.metadata.name = Some("older".into());
    scene.inputs.lost = vec![(
        Claim::Host("a.example".into()),
        Loss::Older(Claimant::of(&winner)),
    )];
    let status = scene.status();
    let (routable, reason, message) = condition(&status, conditions::ROUTABLE);
    assert_eq!(
        (routable.as_str(), reason.as_str()),
        ("False", "RouteConflict")
    );
    assert!(message.contains("host a.example belongs to the older Function default/older"));
    assert_eq!(condition(&status, conditions::READY).1, "RouteConflict");
    assert_eq!(status.host.as_deref(), Some("hello.default.localhost"));
}

#[test]
fn a_taken_service_name_is_told() {
    let mut scene = Scene::new(&[(1, true, Status::True, "")]);
    scene.applied.service = ServiceOutcome::Foreign;
    let (routable, reason, message) = condition(&scene.status(), conditions::ROUTABLE);
    assert_eq!(
        (routable.as_str(), reason.as_str()),
        ("False", "ServiceConflict")
    );
    assert!(message.contains("hello.default.svc"));
}

#[test]
fn each_change_is_news_once() {
    let reasons = |old: Option<&FunctionStatus>, new: &FunctionStatus| -> Vec<String> {
        event_notes(old, new)
            .into_iter()
            .map(|note| note.reason)
            .collect()
    };
    let trial = Scene::new(&[(1, false, Status::Unknown, "")]).status();
    let ready = Scene::new(&[(1, true, Status::True, "")]).status();
    let rolling = [(1, true, Status::True, ""), (2, false, Status::Unknown, "")];
    let rolling = Scene::new(&rolling).status();
    let failing = [(1, true, Status::True, ""), (2, false, Status::False, "x")];
    let failing = Scene::new(&failing).status();
    let rolled = [(1, true, Status::True, ""), (2, true, Status::True, "")];
    let rolled = Scene::new(&rolled).status();

    assert!(reasons(None, &trial).is_empty());
    assert_eq!(reasons(Some(&trial), &ready), ["RevisionReady"]);
    assert!(reasons(Some(&ready), &ready).is_empty());
    assert!(reasons(Some(&ready), &rolling).is_empty());
    assert_eq!(reasons(Some(&rolling), &failing), ["CrashLoop"]);
    assert!(reasons(Some(&failing), &failing).is_empty());
    assert_eq!(
        reasons(Some(&failing), &rolled),
        ["RevisionReady", "TrafficMoved"]
    );
}

#[test]
fn what_the_gateway_writes_makes_no_difference() {
    let status = Scene::new(&[(1, true, Status::True, "")]).status();
    let cold_start = serde_json::json!({"time": "2026-01-01T00:00:00Z", "duration": "20ms",
        "revision": "hello-00001"});
    let with_start = FunctionStatus {
        last_cold_start: serde_json::from_value(cold_start).expect("a cold start"),
        ..status.clone()
    };
    assert!(same(Some(&with_start), &status));
    assert!(!same(None, &status));
}

#[test]
fn triggers_that_hear_topics_say_whether_anything_can_come_and_leave_it_ready() {
    let mut scene = Scene::new(&[(1, true, Status::True, "")]);
    assert!(conditions::find(&scene.status().conditions, conditions::SUBSCRIBED).is_none());
    let spec = "{ image: a, triggers: [{ name: b, topic: { name: returns } }, { name: a, topic: { name: orders } }, \
                { name: c, topic: { name: orders } }, { name: d, schedule: { cron: '0 6 * * *' } }] }";
    scene.inputs = inputs(function(spec));
    let off = scene.status();
    let (subscribed, reason, message) = condition(&off, conditions::SUBSCRIBED);
    assert_eq!(
        (subscribed.as_str(), reason.as_str()),
        ("False", "EventsOff")
    );
    assert!(
        message.starts_with("nothing comes from orders, returns, since")
            && message.contains("events.store in the values"),
        "{message}"
    );
    assert_eq!(condition(&off, conditions::READY).0, "True");
    let told = event_notes(None, &off);
    assert!(
        told.iter()
            .any(|note| note.warning && note.reason == "EventsOff")
    );

    let options = Options {
        events: true,
        ..Options::default()
    };
    let on = status(
        &scene.inputs,
        &scene.applied,
        None,
        &options,
        Timestamp::UNIX_EPOCH,
    );
    let (subscribed, reason, _) = condition(&on, conditions::SUBSCRIBED);
    assert_eq!((subscribed.as_str(), reason.as_str()), ("True", "Heard"));
}
