//! What the gateway keeps of a Function's schedules. Most functions have none.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use fermata_crds::{Function, Trigger, TriggerSchedule, TriggerStatus, recurrence::Recurrence};
use jiff::{SignedDuration, Timestamp};

/// How much longer than the function itself may take a run is waited for.
const CALL_GRACE: Duration = Duration::from_secs(60);

/// How far ahead of the clock a time that was dealt with may be: a clock may be set back by some hours.
const MOST_AHEAD: SignedDuration = SignedDuration::from_hours(25);

/// The triggers of one Function as the watch tells them, and what became of them.
#[derive(Debug)]
pub(crate) struct FunctionTriggers {
    /// The Function's uid.
    pub(crate) uid: Box<str>,
    /// How long a run is waited for.
    pub(crate) timeout: Duration,
    /// How much longer one is tried that is kept (`spec.delivery.maxAge`).
    pub(crate) max_age: Duration,
    /// The triggers whose times can be read. The operator tells the user of others.
    pub(crate) triggers: Vec<KnownTrigger>,
    /// The triggers that hear topics.
    pub(crate) topics: Vec<Box<str>>,
    /// What the Function's status has.
    pub(crate) status: Vec<TriggerStatus>,
    /// How many calls wait, by that status.
    pub(crate) backlog: Option<u32>,
}

/// A trigger that is ready for use.
#[derive(Debug)]
pub(crate) struct KnownTrigger {
    /// What it was made from.
    pub(crate) source: Trigger,
    /// When it calls.
    pub(crate) schedule: TriggerSchedule,
    /// Its times.
    pub(crate) times: Recurrence,
    /// The next time after what the status has; found once.
    next: OnceLock<Option<Timestamp>>,
}

// === impl FunctionTriggers ===

impl FunctionTriggers {
    /// The triggers of a Function that has some, or still has a status of some, or one of what waits.
    #[must_use]
    pub(crate) fn of(function: &Function) -> Option<Arc<Self>> {
        let status = function.status.as_ref();
        let status = status
            .map(|status| status.triggers.clone())
            .unwrap_or_default();
        let triggers = function.spec.triggers();
        let backlog = function.status.as_ref().and_then(|status| status.backlog);
        if triggers.is_empty() && status.is_empty() && backlog.is_none()
            || function.metadata.deletion_timestamp.is_some()
        {
            return None;
        }
        let timeouts = function.spec.template.timeouts();
        Some(Arc::new(Self {
            timeout: timeouts.request() + timeouts.start() + CALL_GRACE,
            max_age: function.spec.delivery().max_age(),
            uid: function.metadata.uid.as_deref().unwrap_or_default().into(),
            triggers: triggers.iter().filter_map(KnownTrigger::of).collect(),
            topics: topics(function),
            status,
            backlog,
        }))
    }

    /// What the status has of a trigger.
    #[must_use]
    pub(crate) fn status_of(&self, name: &str) -> Option<&TriggerStatus> {
        self.status.iter().find(|status| status.name == name)
    }
}

impl PartialEq for FunctionTriggers {
    fn eq(&self, other: &Self) -> bool {
        let sources = |all: &Self| {
            all.triggers
                .iter()
                .map(|one| one.source.clone())
                .collect::<Vec<_>>()
        };
        self.uid == other.uid
            && self.timeout == other.timeout
            && self.max_age == other.max_age
            && self.topics == other.topics
            && self.status == other.status
            && self.backlog == other.backlog
            && sources(self) == sources(other)
    }
}

// === impl KnownTrigger ===

impl KnownTrigger {
    /// The trigger, if it has times and they can be read.
    #[must_use]
    pub(crate) fn of(trigger: &Trigger) -> Option<Self> {
        let schedule = trigger.schedule.as_ref()?;
        let times = Recurrence::new(&schedule.cron, schedule.timezone.as_deref()).ok()?;
        Some(Self {
            source: trigger.clone(),
            schedule: schedule.clone(),
            times,
            next: OnceLock::new(),
        })
    }

    /// Its next time after what the status has.
    pub(crate) fn next(&self, status: &TriggerStatus) -> Option<Timestamp> {
        *self
            .next
            .get_or_init(|| self.times.next(dealt_with(status)))
    }
}

/// The triggers of a Function that hear topics.
#[must_use]
pub(crate) fn topics(function: &Function) -> Vec<Box<str>> {
    let triggers = function.spec.triggers().iter();
    let topics = triggers.filter(|trigger| trigger.topic.is_some());
    topics.map(|trigger| trigger.name.as_str().into()).collect()
}

/// Up to when nothing is left to do.
#[must_use]
pub(crate) fn dealt_with(status: &TriggerStatus) -> Timestamp {
    let times = [&status.since, &status.last_time].into_iter().flatten();
    let latest = times.map(|time| time.0).max();
    latest.unwrap_or(Timestamp::MIN)
}

/// Whether a clock that was far ahead has written the status: nothing would be due until then.
#[must_use]
pub(crate) fn is_ahead(status: &TriggerStatus, now: Timestamp) -> bool {
    dealt_with(status).duration_since(now) > MOST_AHEAD
}
