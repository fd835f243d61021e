//! What is due of a Function's triggers. Pure.

use std::time::Duration;

use fermata_crds::{
    ConcurrencyPolicy, RunResult, Trigger, TriggerRun, TriggerSchedule, TriggerStatus,
    trigger::MOST_RUNS,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::call::Called;
use crate::backend::triggers::{FunctionTriggers, KnownTrigger, dealt_with, is_ahead};

/// How much longer than it is waited for a run counts as under way whose end nobody has written.
const RECORD_GRACE: Duration = Duration::from_secs(600);

/// Whether a run of a trigger is under way.
type IsUnderWay<'a> = Box<dyn Fn(&str, Timestamp) -> bool + Send + Sync + 'a>;

/// What decisions depend on besides the function.
pub(super) struct Situation<'a> {
    pub(super) now: Timestamp,
    /// Whether runs are kept beyond gateways, so that one goes on with those of another.
    pub(super) keeps: bool,
    /// The name of this gateway.
    pub(super) own: &'a str,
    /// Whether this gateway has the run of that time of a trigger under way.
    pub(super) is_under_way: IsUnderWay<'a>,
    /// Whether there is a gateway of that name.
    pub(super) is_there: Box<dyn Fn(&str) -> bool + Send + Sync + 'a>,
}

/// What is to be done about a Function's triggers, once the status is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) status: Vec<TriggerStatus>,
    pub(super) begin: Vec<Begin>,
    /// The runs that have come to an end, or to nothing, by this: their triggers, and how.
    pub(super) ended: Vec<(String, RunResult)>,
}

/// A run that is to begin.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Begin {
    pub(super) trigger: Trigger,
    pub(super) time: Timestamp,
    /// The times of the runs that it takes the place of.
    pub(super) replaces: Vec<Timestamp>,
    /// How long it is waited for.
    pub(super) timeout: Duration,
    /// Whether it was begun before, and goes on in this gateway.
    pub(super) goes_on: bool,
}

/// Whether there is anything to do, as far as the watch has told.
pub(super) fn is_due(triggers: &FunctionTriggers, situation: &Situation<'_>) -> bool {
    let is_known = |status: &TriggerStatus| {
        let mut all = triggers.triggers.iter();
        all.any(|trigger| trigger.source.name == status.name) || hears(triggers, status)
    };
    if !triggers.status.iter().all(is_known) {
        return true;
    }
    triggers.triggers.iter().any(|trigger| {
        let Some(status) = triggers.status_of(&trigger.source.name) else {
            return true;
        };
        let schedule = &trigger.schedule;
        let is_lost =
            |run: &TriggerRun| is_lost(run, &status.name, longest(triggers, situation), situation);
        let is_due = || {
            let next = trigger.next(status);
            next.is_some_and(|next| next <= situation.now)
        };
        !is_of(status, schedule)
            || is_ahead(status, situation.now)
            || status.runs.iter().any(is_lost)
            || !schedule.is_suspended() && is_due()
    })
}

/// Decides about the triggers of a Function; nothing if there is nothing to write.
pub(super) fn plan(triggers: &FunctionTriggers, situation: &Situation<'_>) -> Option<Plan> {
    let mut plan = Plan::default();
    for trigger in &triggers.triggers {
        let old = triggers.status_of(&trigger.source.name);
        let status = plan.of(trigger, old, longest(triggers, situation), situation);
        plan.status.push(status);
    }
    let others = triggers.status.iter();
    plan.status
        .extend(others.filter(|status| hears(triggers, status)).cloned());
    // A run may go on in this gateway which the status says is its own already.
    let is_news = plan.status != triggers.status || !plan.begin.is_empty();
    is_news.then_some(plan)
}

/// Writes into a trigger's status how a run has ended that this gateway had begun. Whether that is news.
pub(super) fn end(
    status: &mut TriggerStatus,
    time: Timestamp,
    own: &str,
    called: &Called,
    now: Timestamp,
) -> bool {
    let mut runs = status.runs.iter_mut();
    let is_it = |run: &TriggerRun| {
        run.time.0 == time
            && run.result == RunResult::Running
            && run.gateway.as_deref() == Some(own)
    };
    let Some(run) = runs.find(|run| is_it(run)) else {
        return false;
    };
    run.result = called.result;
    run.ended_at = Some(second(now));
    run.code = called.code;
    run.message.clone_from(&called.message);
    true
}

/// Whether a run counts as under way, and nobody is there who will tell how it ended.
fn is_lost(run: &TriggerRun, trigger: &str, timeout: Duration, situation: &Situation<'_>) -> bool {
    if run.result != RunResult::Running {
        return false;
    }
    let gateway = run.gateway.as_deref().unwrap_or_default();
    if gateway == situation.own {
        return !(situation.is_under_way)(trigger, run.time.0);
    }
    let started = run
        .started_at
        .as_ref()
        .map_or(run.time.0, |started| started.0);
    let age = Duration::try_from(situation.now.duration_since(started)).unwrap_or_default();
    !(situation.is_there)(gateway) || age > timeout.saturating_add(RECORD_GRACE)
}

/// How long a run may take.
fn longest(triggers: &FunctionTriggers, situation: &Situation<'_>) -> Duration {
    let kept = if situation.keeps {
        triggers.max_age
    } else {
        Duration::ZERO
    };
    triggers.timeout.saturating_add(kept)
}

/// Whether this is the status of a trigger that hears a topic: what is not decided here.
fn hears(triggers: &FunctionTriggers, status: &TriggerStatus) -> bool {
    triggers.topics.iter().any(|name| **name == *status.name)
}

/// Whether a status tells of the times of this schedule.
fn is_of(status: &TriggerStatus, schedule: &TriggerSchedule) -> bool {
    status.since.is_some() && status.schedule.as_deref() == Some(&*schedule.text())
}

/// Times of the API have whole seconds.
pub(super) fn second(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

// === impl Plan ===

impl Plan {
    /// One trigger's status as it is to be; what is to begin is noted.
    fn of(
        &mut self,
        trigger: &KnownTrigger,
        old: Option<&TriggerStatus>,
        timeout: Duration,
        situation: &Situation<'_>,
    ) -> TriggerStatus {
        let KnownTrigger {
            source,
            schedule,
            times,
            ..
        } = trigger;
        let now = situation.now;
        let mut status = TriggerStatus {
            name: source.name.clone(),
            schedule: Some(schedule.text()),
            since: Some(second(now)),
            runs: old.map(|old| old.runs.clone()).unwrap_or_default(),
            ..TriggerStatus::default()
        };
        let old = old.filter(|old| is_of(old, schedule) && !is_ahead(old, now));
        if let Some(old) = old {
            status.since = old.since.clone();
            status.last_time.clone_from(&old.last_time);
        }
        for run in &mut status.runs {
            if !is_lost(run, &source.name, timeout, situation) {
                continue;
            }
            if situation.keeps {
                run.gateway = Some(situation.own.to_owned());
                self.begin.push(Begin {
                    trigger: source.clone(),
                    time: run.time.0,
                    replaces: Vec::new(),
                    timeout,
                    goes_on: true,
                });
            } else {
                run.result = RunResult::Lost;
                run.ended_at = Some(second(now));
                run.message =
                    Some("the gateway that had begun it is gone, or could not tell".to_owned());
                self.ended.push((source.name.clone(), RunResult::Lost));
            }
        }
        if schedule.is_suspended() {
            return status;
        }
        let Some(time) = times.latest(dealt_with(&status), now) else {
            return status;
        };
        status.last_time = Some(Time(time));
        let run = match left_out(schedule, &status.runs, time, now) {
            Some(why) => {
                self.ended.push((source.name.clone(), RunResult::Skipped));
                TriggerRun {
                    time: Time(time),
                    result: RunResult::Skipped,
                    started_at: None,
                    ended_at: Some(second(now)),
                    code: None,
                    message: Some(why),
                    gateway: None,
                }
            }
            None => {
                let replaces = match schedule.concurrency() {
                    ConcurrencyPolicy::Replace => replace(&mut status.runs, now),
                    ConcurrencyPolicy::Allow | ConcurrencyPolicy::Forbid => Vec::new(),
                };
                self.begin.push(Begin {
                    trigger: source.clone(),
                    time,
                    replaces,
                    timeout,
                    goes_on: false,
                });
                TriggerRun {
                    time: Time(time),
                    result: RunResult::Running,
                    started_at: Some(second(now)),
                    ended_at: None,
                    code: None,
                    message: None,
                    gateway: Some(situation.own.to_owned()),
                }
            }
        };
        status.runs.insert(0, run);
        forget(&mut status.runs);
        status
    }
}

/// Why there is no run of this time, if there is to be none.
fn left_out(
    schedule: &TriggerSchedule,
    runs: &[TriggerRun],
    time: Timestamp,
    now: Timestamp,
) -> Option<String> {
    let late = now.duration_since(time);
    let deadline = schedule.deadline();
    if SignedDuration::try_from(deadline).is_ok_and(|deadline| late > deadline) {
        return Some(format!(
            "it would have begun {} s late; schedule.deadline allows {} s",
            late.as_secs(),
            deadline.as_secs()
        ));
    }
    let mut under_way = runs.iter().filter(|run| run.result == RunResult::Running);
    match schedule.concurrency() {
        ConcurrencyPolicy::Replace => None,
        ConcurrencyPolicy::Forbid => under_way
            .next()
            .map(|run| format!("the run of {} was not over", run.time.0)),
        ConcurrencyPolicy::Allow => {
            (under_way.count() >= MOST_RUNS).then(|| format!("{MOST_RUNS} runs were not over"))
        }
    }
}

/// Ends what is under way, in favour of a newer run.
fn replace(runs: &mut [TriggerRun], now: Timestamp) -> Vec<Timestamp> {
    let under_way = runs
        .iter_mut()
        .filter(|run| run.result == RunResult::Running);
    let ended = under_way.map(|run| {
        run.result = RunResult::Replaced;
        run.ended_at = Some(second(now));
        run.time.0
    });
    ended.collect()
}

/// Forgets the oldest runs beyond [`MOST_RUNS`], but none that is under way.
fn forget(runs: &mut Vec<TriggerRun>) {
    while runs.len() > MOST_RUNS {
        let over = runs
            .iter()
            .rposition(|run| run.result != RunResult::Running);
        match over {
            Some(oldest) => drop(runs.remove(oldest)),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests;
