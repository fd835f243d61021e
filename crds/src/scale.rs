//! How many replicas run, and when.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::GoDuration;

/// The least and the longest [`Scale::window`].
pub const WINDOW_BOUNDS: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(3600));

/// The longest [`Scale::idle_after`].
pub const MAX_IDLE_AFTER: Duration = Duration::from_secs(168 * 3600);

/// The longest [`Scale::down_delay`].
pub const MAX_DOWN_DELAY: Duration = Duration::from_secs(3600);

/// The least and the longest duration of a [`Schedule`].
pub const SCHEDULE_BOUNDS: (Duration, Duration) =
    (Duration::from_secs(60), Duration::from_secs(168 * 3600));

/// How many replicas run, and when. The gateway scales on the requests it sees; the algorithm is
/// the stable/panic window one of Knative's autoscaler.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scale {
    /// Replicas that always run. 0 lets the function rest at zero. kubectl scale sets it. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,

    /// The most replicas that run. 1 to 1000. Default: 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,

    /// Replicas a new Revision starts with, to show that it works before it gets traffic. 0 gives
    /// it traffic without a trial. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<u32>,

    /// What is measured: concurrency (requests at once) or rps (requests per second). Default:
    /// concurrency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,

    /// How much of the metric one replica should carry. Default: the value of concurrency if that
    /// is not 0, else 100; 200 for rps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<u32>,

    /// The share of the target that is aimed at, in percent, so that there is room for more while
    /// replicas start. 1 to 100. Default: 70.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilization: Option<u32>,

    /// The time over which the metric is averaged. 6s to 1h. Default: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<GoDuration>,

    /// How long after its last request a function goes to zero. At most 168h; for a function that never
    /// goes to zero, give min. Default: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_after: Option<GoDuration>,

    /// How long a lower need must last before replicas are taken away; the way to zero has
    /// idleAfter in addition. At most 1h. Default: 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_delay: Option<GoDuration>,

    /// Replicas to start with when the function is woken from zero. At least 1. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<u32>,

    /// The most requests that wait for an instance, in each gateway; further ones are refused
    /// with 503 and the reason QueueFull. Default: 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,

    /// Times of day with bounds of their own. Where several apply, the highest min and the highest
    /// max count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedules: Option<Vec<Schedule>>,
}

/// What is measured: concurrency (requests at once) or rps (requests per second). Default:
/// concurrency.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Requests at once, waiting ones included.
    #[default]
    Concurrency,
    /// Requests per second.
    Rps,
}

/// A recurring time with bounds of its own.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// When it begins: five cron fields (minute, hour, day of month, month, day of week), such as
    /// "0 8 * * MON-FRI".
    pub cron: String,

    /// The IANA time zone the cron fields are in, such as Europe/Berlin. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,

    /// How long it lasts. Between 1m and 168h.
    pub duration: GoDuration,

    /// Replicas that run at least while it lasts. Default: the function's own min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,

    /// Replicas that run at most while it lasts. Default: the function's own max.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

// === impl Scale ===

impl Scale {
    /// Replicas that always run.
    #[must_use]
    pub fn min(&self) -> u32 {
        self.min.unwrap_or(0)
    }

    /// The most replicas that run; never below [`Scale::min`].
    #[must_use]
    pub fn max(&self) -> u32 {
        self.max.unwrap_or(20).max(self.min()).max(1)
    }

    /// Replicas a new Revision starts with, within min and max.
    #[must_use]
    pub fn initial(&self) -> u32 {
        self.initial.unwrap_or(1).max(self.min()).min(self.max())
    }

    /// What is measured.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric.unwrap_or_default()
    }

    /// How much of the metric one replica can carry, given the hard limit of requests at once.
    #[must_use]
    pub fn target(&self, concurrency: Option<u32>) -> f64 {
        let own = self.target.map(f64::from);
        match (self.metric(), concurrency.map(f64::from)) {
            (Metric::Rps, _) => own.unwrap_or(200.0),
            (Metric::Concurrency, Some(limit)) => own.map_or(limit, |target| target.min(limit)),
            (Metric::Concurrency, None) => own.unwrap_or(100.0),
        }
    }

    /// The share of the target that is aimed at, 0 to 1.
    #[must_use]
    pub fn utilization(&self) -> f64 {
        f64::from(self.utilization.unwrap_or(70).clamp(1, 100)) / 100.0
    }

    /// The time over which the metric is averaged, within [`WINDOW_BOUNDS`].
    #[must_use]
    pub fn window(&self) -> Duration {
        let window = self.window.map_or(Duration::from_secs(60), Duration::from);
        window.clamp(WINDOW_BOUNDS.0, WINDOW_BOUNDS.1)
    }

    /// How long after its last request a function goes to zero, at most [`MAX_IDLE_AFTER`].
    #[must_use]
    pub fn idle_after(&self) -> Duration {
        let idle_after = self
            .idle_after
            .map_or(Duration::from_secs(60), Duration::from);
        idle_after.min(MAX_IDLE_AFTER)
    }

    /// How long a lower need must last before replicas are taken away, at most [`MAX_DOWN_DELAY`].
    #[must_use]
    pub fn down_delay(&self) -> Duration {
        let down_delay = self.down_delay.map_or(Duration::ZERO, Duration::from);
        down_delay.min(MAX_DOWN_DELAY)
    }

    /// Replicas to start with when woken from zero, within max.
    #[must_use]
    pub fn activation(&self) -> u32 {
        self.activation.unwrap_or(1).max(1).min(self.max())
    }

    /// The most requests that wait for an instance, in each gateway.
    #[must_use]
    pub fn queue(&self) -> u32 {
        self.queue.unwrap_or(1000)
    }

    /// The recurring times with bounds of their own.
    #[must_use]
    pub fn schedules(&self) -> &[Schedule] {
        self.schedules.as_deref().unwrap_or_default()
    }
}

// === impl Schedule ===

impl Schedule {
    /// How long it lasts, within [`SCHEDULE_BOUNDS`].
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from(self.duration).clamp(SCHEDULE_BOUNDS.0, SCHEDULE_BOUNDS.1)
    }
}
