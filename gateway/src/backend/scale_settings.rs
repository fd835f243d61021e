//! How a Revision is scaled, in numbers.

use std::time::Duration;

use fermata_crds::{Metric, Scale, Schedule};
use jiff::Timestamp;

use super::schedule::ScheduledBounds;

/// The scale settings in numbers; they follow the Function.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScaleSettings {
    /// Replicas that always run.
    pub(crate) min: u32,
    /// The most replicas.
    pub(crate) max: u32,
    /// Replicas of a new Revision.
    pub(crate) initial: u32,
    /// Replicas when woken.
    pub(crate) activation: u32,
    /// What is measured.
    pub(crate) metric: Metric,
    /// How much of the metric one replica is meant to carry: target times utilization.
    pub(crate) target: f64,
    /// The stable window.
    pub(crate) window: Duration,
    /// From the last request to zero.
    pub(crate) idle_after: Duration,
    /// How long a lower need must last.
    pub(crate) down_delay: Duration,
    /// Places in the queue.
    pub(crate) queue: usize,
    /// Times with bounds of their own.
    pub(crate) schedules: Box<[ScheduledBounds]>,
}

// === impl ScaleSettings ===

impl ScaleSettings {
    /// The settings in numbers; `concurrency` is the hard limit of the template.
    #[must_use]
    pub(crate) fn of(scale: &Scale, concurrency: Option<u32>) -> Self {
        Self {
            min: scale.min(),
            max: scale.max(),
            initial: scale.initial(),
            activation: scale.activation(),
            metric: scale.metric(),
            target: (scale.target(concurrency) * scale.utilization()).max(0.01),
            window: scale.window(),
            idle_after: scale.idle_after(),
            down_delay: scale.down_delay(),
            queue: scale.queue() as usize,
            schedules: scale
                .schedules()
                .iter()
                .filter_map(ScheduledBounds::of)
                .collect(),
        }
    }

    /// The least and the most replicas at a time. Where several schedules are on, the highest of each
    /// counts.
    #[must_use]
    pub(crate) fn bounds(&self, now: Timestamp) -> (u32, u32) {
        let on = self.schedules.iter().filter(|schedule| schedule.is_on(now));
        let bounds = on.map(|schedule| {
            let Schedule { min, max, .. } = schedule.source();
            (min.unwrap_or(self.min), max.unwrap_or(self.max))
        });
        let highest = bounds.reduce(|one, other| (one.0.max(other.0), one.1.max(other.1)));
        let (min, max) = highest.unwrap_or((self.min, self.max));
        (min, max.max(min).max(1))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scale(schedules: serde_json::Value) -> ScaleSettings {
        let scale = json!({ "min": 1, "max": 10, "schedules": schedules });
        ScaleSettings::of(&serde_json::from_value(scale).unwrap(), None)
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_schedule_holds_for_its_duration_in_its_time_zone() {
        let scale = scale(json!([
            { "cron": "0 8 * * MON-FRI", "timezone": "Europe/Berlin", "duration": "10h", "min": 5 },
        ]));
        // Monday; Berlin is two hours ahead in summer.
        assert_eq!(scale.bounds(at("2026-07-06T05:59:59Z")), (1, 10));
        assert_eq!(scale.bounds(at("2026-07-06T06:00:00Z")), (5, 10));
        assert_eq!(scale.bounds(at("2026-07-06T15:59:59Z")), (5, 10));
        assert_eq!(scale.bounds(at("2026-07-06T16:00:00Z")), (1, 10));
        assert_eq!(scale.bounds(at("2026-07-05T09:00:00Z")), (1, 10));
    }

    #[test]
    fn the_highest_bounds_count_and_max_is_never_below_min() {
        let scale = scale(json!([
            { "cron": "0 0 * * *", "duration": "24h", "min": 3, "max": 4 },
            { "cron": "0 0 * * *", "duration": "24h", "min": 20 },
        ]));
        assert_eq!(scale.bounds(at("2026-01-01T12:00:00Z")), (20, 20));
    }

    #[test]
    fn a_schedule_that_makes_no_sense_is_passed_over() {
        let scale = scale(json!([
            { "cron": "soon", "duration": "1h", "min": 9 },
            { "cron": "* * * * *", "timezone": "Mars/Olympus", "duration": "1h", "min": 9 },
        ]));
        assert_eq!(scale.bounds(at("2026-01-01T12:00:00Z")), (1, 10));
    }
}
