use std::collections::HashSet;

use fermata_crds::Function;
use serde_json::{Value, json};

use super::*;

/// A Function with one trigger at six in Berlin, as the API and the gateways know it.
struct World {
    function: Function,
    /// The runs that this gateway has under way.
    under_way: HashSet<Timestamp>,
    /// The other gateways.
    others: Vec<&'static str>,
    /// Whether runs are kept.
    keeps: bool,
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

impl World {
    fn of(schedule: Value) -> Self {
        let mut schedule = schedule;
        schedule["cron"] = json!("0 6 * * *");
        schedule["timezone"] = json!("Europe/Berlin");
        let function = json!({
            "apiVersion": "fermata.dev/v1alpha1", "kind": "Function",
            "metadata": {"name": "report", "namespace": "shop", "uid": "u"},
            "spec": {"image": "a", "timeouts": {"request": "1h"},
                "triggers": [{"name": "nightly", "schedule": schedule}]},
        });
        Self {
            function: serde_json::from_value(function).unwrap(),
            under_way: HashSet::new(),
            others: vec!["other"],
            keeps: false,
        }
    }

    fn situation(&self, now: &str) -> Situation<'_> {
        Situation {
            now: at(now),
            keeps: self.keeps,
            own: "own",
            is_under_way: Box::new(|_, time| self.under_way.contains(&time)),
            is_there: Box::new(|gateway| self.others.contains(&gateway)),
        }
    }

    /// One round of a gateway: the times that it calls, when what it has decided is written.
    fn round(&mut self, now: &str) -> Vec<String> {
        let Some(triggers) = FunctionTriggers::of(&self.function) else {
            return Vec::new();
        };
        let situation = self.situation(now);
        let plan = plan(&triggers, &situation);
        // What is seen from the watch and what is decided of the object go together.
        assert_eq!(is_due(&triggers, &situation), plan.is_some(), "{now}");
        drop(situation);
        let Some(plan) = plan else {
            return Vec::new();
        };
        let begun: Vec<Timestamp> = plan.begin.iter().map(|begin| begin.time).collect();
        for begin in &plan.begin {
            for old in &begin.replaces {
                self.under_way.remove(old);
            }
        }
        self.under_way.extend(&begun);
        self.function.status.get_or_insert_default().triggers = plan.status;
        begun.iter().map(ToString::to_string).collect()
    }

    fn status(&mut self) -> &mut TriggerStatus {
        &mut self.function.status.as_mut().unwrap().triggers[0]
    }

    fn results(&mut self) -> Vec<RunResult> {
        self.status().runs.iter().map(|run| run.result).collect()
    }

    fn end(&mut self, time: &str, called: &Called) -> bool {
        let time = at(time);
        self.under_way.remove(&time);
        end(self.status(), time, "own", called, time)
    }
}

fn answered() -> Called {
    Called {
        result: RunResult::Succeeded,
        code: Some(200),
        message: None,
    }
}

const NONE: [&str; 0] = [];
/// Six o'clock in Berlin, in winter.
const FRIDAY: &str = "2026-11-27T05:00:00Z";
const SATURDAY: &str = "2026-11-28T05:00:00Z";

#[test]
fn each_time_is_called_once_and_nothing_before_it_was_seen() {
    let mut world = World::of(json!({}));
    assert_eq!(world.round("2026-11-26T12:00:00.4Z"), NONE);
    assert_eq!(
        world.status().since.clone().unwrap().0,
        at("2026-11-26T12:00:00Z")
    );
    assert_eq!(world.round("2026-11-27T04:59:59.9Z"), NONE);
    assert_eq!(world.round("2026-11-27T05:00:00.1Z"), [FRIDAY]);
    assert_eq!(world.round("2026-11-27T05:00:01Z"), NONE);
    assert!(world.end(FRIDAY, &answered()));
    assert!(!world.end(FRIDAY, &answered()), "it is over");
    assert_eq!(world.round("2026-11-28T05:00:00Z"), [SATURDAY]);
    assert_eq!(world.results(), [RunResult::Running, RunResult::Succeeded]);
}

#[test]
fn of_several_missed_times_the_newest_is_made_up_for() {
    let mut world = World::of(json!({}));
    world.round("2026-11-20T12:00:00Z");
    assert_eq!(world.round("2026-11-28T11:00:00Z"), [SATURDAY]);
    assert_eq!(world.round("2026-11-28T11:00:01Z"), NONE);
}

#[test]
fn what_would_be_too_late_is_left_out() {
    let mut world = World::of(json!({"deadline": "1h"}));
    world.round("2026-11-27T12:00:00Z");
    assert_eq!(world.round("2026-11-28T06:00:01Z"), NONE);
    assert_eq!(world.results(), [RunResult::Skipped]);
    let why = world.status().runs[0].message.clone().unwrap();
    assert!(
        why.contains("3601 s late") && why.contains("3600 s"),
        "{why}"
    );
    assert_eq!(
        world.round("2026-11-29T06:00:00Z"),
        ["2026-11-29T05:00:00Z"]
    );
}

#[test]
fn a_run_that_is_not_over_is_waited_for_accompanied_or_replaced() {
    for (concurrency, begun, results) in [
        (None, &[][..], [RunResult::Skipped, RunResult::Running]),
        (
            Some("Forbid"),
            &[],
            [RunResult::Skipped, RunResult::Running],
        ),
        (
            Some("Allow"),
            &[SATURDAY],
            [RunResult::Running, RunResult::Running],
        ),
        (
            Some("Replace"),
            &[SATURDAY],
            [RunResult::Running, RunResult::Replaced],
        ),
    ] {
        let schedule = concurrency.map_or(json!({}), |policy| json!({"concurrency": policy}));
        let mut world = World::of(schedule);
        world.round("2026-11-26T12:00:00Z");
        world.round("2026-11-27T05:00:00Z");
        assert_eq!(
            world.round("2026-11-28T05:00:00Z"),
            begun,
            "{concurrency:?}"
        );
        assert_eq!(world.results(), results, "{concurrency:?}");
        let is_told = world.end(FRIDAY, &answered());
        assert_eq!(is_told, results[1] == RunResult::Running, "{concurrency:?}");
    }
}

#[test]
fn runs_beside_each_other_are_bounded_and_old_ones_forgotten() {
    let mut world = World::of(json!({"concurrency": "Allow"}));
    world.round("2026-11-01T12:00:00Z");
    let mut begun = 0;
    for day in 2..=28 {
        begun += world.round(&format!("2026-11-{day:02}T05:00:00Z")).len();
    }
    assert_eq!(begun, MOST_RUNS);
    assert!(world.status().runs.len() <= MOST_RUNS + 1);
    assert_eq!(world.under_way.len(), MOST_RUNS);
}

#[test]
fn what_is_suspended_rests_and_a_change_begins_anew() {
    let mut world = World::of(json!({"suspend": true}));
    world.round("2026-11-26T12:00:00Z");
    assert_eq!(world.round("2026-11-27T12:00:00Z"), NONE);
    let trigger = &mut world.function.spec.triggers.as_mut().unwrap()[0];
    let schedule = trigger.schedule.as_mut().unwrap();
    schedule.suspend = None;
    schedule.cron = "0 7 * * *".to_owned();
    assert_eq!(world.round("2026-11-27T12:00:00Z"), NONE);
    assert_eq!(
        world.status().since.clone().unwrap().0,
        at("2026-11-27T12:00:00Z")
    );
    assert_eq!(
        world.round("2026-11-28T06:00:00Z"),
        ["2026-11-28T06:00:00Z"]
    );

    world.function.spec.triggers = None;
    assert_eq!(world.round("2026-11-28T06:00:01Z"), NONE);
    assert!(world.function.status.as_ref().unwrap().triggers.is_empty());
}

#[test]
fn a_run_whose_gateway_is_gone_is_lost_and_not_made_again() {
    let mut world = World::of(json!({}));
    world.round("2026-11-26T12:00:00Z");
    world.round("2026-11-27T05:00:00Z");
    // Another gateway that is there has it under way; its end is its own to write.
    world.status().runs[0].gateway = Some("other".to_owned());
    assert_eq!(world.round("2026-11-27T05:00:10Z"), NONE);
    assert_eq!(world.results(), [RunResult::Running]);
    assert!(!world.end(FRIDAY, &answered()));
    world.others.clear();
    assert_eq!(world.round("2026-11-27T05:00:11Z"), NONE);
    assert_eq!(world.results(), [RunResult::Lost]);

    // This gateway, before it was started anew.
    world.round("2026-11-28T05:00:00Z");
    world.under_way.clear();
    assert_eq!(world.round("2026-11-28T05:00:10Z"), NONE);
    assert_eq!(world.results(), [RunResult::Lost, RunResult::Lost]);
}

#[test]
fn a_run_that_is_kept_goes_on_in_another_gateway() {
    let mut world = World::of(json!({}));
    world.keeps = true;
    world.round("2026-11-26T12:00:00Z");
    world.round("2026-11-27T05:00:00Z");
    world.status().runs[0].gateway = Some("other".to_owned());
    world.under_way.clear();
    // The other one is there, for as long as it is tried; the default is six hours.
    assert_eq!(world.round("2026-11-27T10:59:00Z"), NONE);
    world.others.clear();
    assert_eq!(world.round("2026-11-27T10:59:01Z"), [FRIDAY]);
    assert_eq!(world.status().runs[0].gateway.as_deref(), Some("own"));
    assert_eq!(world.round("2026-11-27T10:59:02Z"), NONE);

    // This gateway, before it was started anew.
    world.under_way.clear();
    assert_eq!(world.round("2026-11-27T11:00:00Z"), [FRIDAY]);
    assert_eq!(world.results(), [RunResult::Running]);
    assert!(world.end(FRIDAY, &answered()));
    assert_eq!(world.round("2026-11-27T11:00:01Z"), NONE);
    assert_eq!(world.results(), [RunResult::Succeeded]);
}

#[test]
fn a_clock_that_goes_back_calls_nothing_twice() {
    let mut world = World::of(json!({}));
    world.round("2026-11-26T12:00:00Z");
    world.round("2026-11-27T05:00:00Z");
    world.end(FRIDAY, &answered());
    assert_eq!(world.round("2026-11-26T05:00:00Z"), NONE);
    assert_eq!(world.round("2026-11-27T05:00:00Z"), NONE);
    assert_eq!(world.round("2026-11-28T05:00:00Z"), [SATURDAY]);
}

#[test]
fn a_clock_that_was_far_ahead_silences_nothing() {
    let mut world = World::of(json!({}));
    world.round("2026-12-26T12:00:00Z");
    world.round("2026-12-27T05:00:00Z");
    assert_eq!(world.round("2026-11-26T12:00:00Z"), NONE);
    world.under_way.clear();
    assert_eq!(world.round("2026-11-27T04:00:00Z"), NONE);
    assert_eq!(world.round("2026-11-27T05:00:00Z"), [FRIDAY]);
}

#[test]
fn a_run_that_nobody_tells_of_is_lost_after_its_time() {
    let mut world = World::of(json!({}));
    world.round("2026-11-26T12:00:00Z");
    world.round("2026-11-27T05:00:00Z");
    // Its pod is still listed, though nothing runs there any more.
    world.status().runs[0].gateway = Some("other".to_owned());
    assert_eq!(world.round("2026-11-27T06:00:00Z"), NONE);
    assert_eq!(world.results(), [RunResult::Running]);
    assert_eq!(world.round("2026-11-27T06:20:00Z"), NONE);
    assert_eq!(world.results(), [RunResult::Lost]);
}

#[test]
fn what_is_told_of_topics_is_left_alone_until_they_are_heard_no_more() {
    let mut world = World::of(json!({}));
    let topic = json!({"name": "orders", "topic": {"name": "orders"}});
    let topic = serde_json::from_value(topic).unwrap();
    world
        .function
        .spec
        .triggers
        .as_mut()
        .unwrap()
        .insert(0, topic);
    assert_eq!(world.round("2026-11-26T12:00:00Z"), NONE);
    let told = TriggerStatus {
        name: "orders".to_owned(),
        backlog: Some(7),
        ..TriggerStatus::default()
    };
    let status = |world: &mut World| world.function.status.as_ref().unwrap().triggers.clone();
    let mut triggers = status(&mut world);
    assert_eq!(triggers.len(), 1);
    triggers.push(told.clone());
    world.function.status.as_mut().unwrap().triggers = triggers;
    assert_eq!(world.round("2026-11-26T12:00:01Z"), NONE);
    assert_eq!(world.round(FRIDAY), [FRIDAY]);
    assert_eq!(status(&mut world)[1], told);
    world.function.spec.triggers.as_mut().unwrap().remove(0);
    assert_eq!(world.round("2026-11-27T05:00:01Z"), NONE);
    assert_eq!(status(&mut world).len(), 1);
}
