//! What calls a function besides its callers: times of day, and messages of topics.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GoDuration, TopicTrigger};

/// The most triggers of one function.
pub const MOST_TRIGGERS: i64 = 20;

/// The most runs of a trigger that its status keeps, those under way included.
pub const MOST_RUNS: usize = 10;

/// The least and the longest lateness that a manifest may allow.
pub const DEADLINE_BOUNDS: (Duration, Duration) =
    (Duration::from_secs(10), Duration::from_secs(168 * 3600));

/// Something that calls the function: a POST in which the headers of a `CloudEvent` say what it is about.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// Its name, once in a function: lower case letters, digits and '-'.
    pub name: String,

    /// The times at which it calls. A trigger has this or a topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<TriggerSchedule>,

    /// The messages with which it calls. A trigger has this or a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<TopicTrigger>,

    /// How many messages of the topic are delivered together. Default: each by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<TriggerBatch>,

    /// The path that is called, which may have a query. Default: /.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,

    /// What is sent at a time of the schedule: JSON is sent as application/json, everything else as text/plain. At most
    /// 4,096 characters. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// Messages that are delivered together, in one request.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TriggerBatch {
    /// How many at most. 2 to 1000.
    pub size: u32,

    /// How long one waits for others, as long as there are fewer. 0s to 5m. Default: 0s, so that those are together that
    /// wait already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<GoDuration>,
}

/// Recurring times at which a function is called.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TriggerSchedule {
    /// Five cron fields (minute, hour, day of month, month, day of week), such as "0 6 * * MON-FRI".
    pub cron: String,

    /// The IANA time zone the cron fields are in, such as Europe/Berlin. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,

    /// What happens when the last run is not over: Forbid leaves the new one out, Allow starts it beside the other
    /// one, Replace breaks the other one off. Default: Forbid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<ConcurrencyPolicy>,

    /// How late a run may begin, such as after an outage; later ones are left out. 10s to 168h. Default: 168h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<GoDuration>,

    /// Whether no runs begin. Those that are under way go on. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// What happens when the last run is not over.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ConcurrencyPolicy {
    /// The new one is left out.
    #[default]
    Forbid,
    /// Both run.
    Allow,
    /// The old one is broken off.
    Replace,
}

/// What became of a trigger. Written by the gateway.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TriggerStatus {
    /// The trigger's name.
    pub name: String,

    /// The cron fields and the time zone that these times are of, where it has a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,

    /// Since when it is looked for runs: nothing before that is made up for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,

    /// The newest time that has been dealt with: by a run, or by leaving it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_time: Option<Time>,

    /// The newest runs, the newest first; at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<TriggerRun>,

    /// Messages that are not delivered yet, where it hears a topic; about so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u32>,

    /// When the oldest of them was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Time>,

    /// Why the last attempt to deliver one has failed, until one succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// One run of a trigger.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TriggerRun {
    /// The time it is of.
    pub time: Time,

    /// How it stands.
    pub result: RunResult,

    /// When the function was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,

    /// The status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,

    /// Why it failed or was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// The gateway that has called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum RunResult {
    /// It is under way.
    Running,
    /// The function has answered with 2xx.
    Succeeded,
    /// It has answered with something else, or not at all.
    Failed,
    /// It was not called.
    Skipped,
    /// A newer run has taken its place.
    Replaced,
    /// The gateway that had called is gone: nobody knows.
    Lost,
}

// === impl Trigger ===

impl Trigger {
    /// The path that is called.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/")
    }
}

// === impl TriggerSchedule ===

impl TriggerSchedule {
    /// What happens when the last run is not over.
    #[must_use]
    pub fn concurrency(&self) -> ConcurrencyPolicy {
        self.concurrency.unwrap_or_default()
    }

    /// How late a run may begin, within [`DEADLINE_BOUNDS`].
    #[must_use]
    pub fn deadline(&self) -> Duration {
        let deadline = self.deadline.map_or(DEADLINE_BOUNDS.1, Duration::from);
        deadline.clamp(DEADLINE_BOUNDS.0, DEADLINE_BOUNDS.1)
    }

    /// Whether no runs begin.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.suspend.unwrap_or_default()
    }

    /// The fields and the zone in one text, by which a change of them is known.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.timezone {
            Some(timezone) => format!("{} {timezone}", self.cron),
            None => format!("{} UTC", self.cron),
        }
    }
}

// === impl RunResult ===

impl RunResult {
    /// The word of the API, for metrics and people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Skipped => "Skipped",
            Self::Replaced => "Replaced",
            Self::Lost => "Lost",
        }
    }
}
