//! Times of day with bounds of their own.

use std::sync::{Arc, Mutex};

use fermata_crds::{
    Schedule,
    recurrence::{Phase, Recurrence},
};
use jiff::Timestamp;

use crate::{state::settings::ScaleSettings, sync::lock};

/// A [`Schedule`] that is ready for use.
#[derive(Clone, Debug)]
pub struct ScheduledBounds {
    /// What it was made from.
    source: Schedule,
    recurrence: Recurrence,
    /// The last answer and when it was given; it is asked for every second and changes rarely.
    known: Arc<Mutex<Option<(Timestamp, Phase)>>>,
}

// === impl ScheduledBounds ===

impl ScheduledBounds {
    /// The schedule, if its cron fields and time zone make sense. The operator tells the user when
    /// they do not.
    #[must_use]
    pub fn of(schedule: &Schedule) -> Option<Self> {
        Some(Self {
            source: schedule.clone(),
            recurrence: Recurrence::of(schedule).ok()?,
            known: Arc::default(),
        })
    }

    fn is_on(&self, now: Timestamp) -> bool {
        let mut known = lock(&self.known);
        match *known {
            Some((since, phase)) if since <= now && now < phase.until => phase.on,
            _ => {
                let phase = self.recurrence.phase(now);
                *known = Some((now, phase));
                phase.on
            }
        }
    }
}

impl PartialEq for ScheduledBounds {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// The least and the most replicas at a time. Where several schedules are on, the highest of each
/// counts.
#[must_use]
pub fn bounds(scale: &ScaleSettings, now: Timestamp) -> (u32, u32) {
    let on = scale.schedules.iter().filter(|slot| slot.is_on(now));
    let bounds = on.map(|slot| {
        let Schedule { min, max, .. } = slot.source;
        (min.unwrap_or(scale.min), max.unwrap_or(scale.max))
    });
    let highest = bounds.reduce(|one, other| (one.0.max(other.0), one.1.max(other.1)));
    let (min, max) = highest.unwrap_or((scale.min, scale.max));
    (min, max.max(min).max(1))
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
        assert_eq!(bounds(&scale, at("2026-07-06T05:59:59Z")), (1, 10));
        assert_eq!(bounds(&scale, at("2026-07-06T06:00:00Z")), (5, 10));
        assert_eq!(bounds(&scale, at("2026-07-06T15:59:59Z")), (5, 10));
        assert_eq!(bounds(&scale, at("2026-07-06T16:00:00Z")), (1, 10));
        assert_eq!(bounds(&scale, at("2026-07-05T09:00:00Z")), (1, 10));
    }

    #[test]
    fn the_highest_bounds_count_and_max_is_never_below_min() {
        let scale = scale(json!([
            { "cron": "0 0 * * *", "duration": "24h", "min": 3, "max": 4 },
            { "cron": "0 0 * * *", "duration": "24h", "min": 20 },
        ]));
        assert_eq!(bounds(&scale, at("2026-01-01T12:00:00Z")), (20, 20));
    }

    #[test]
    fn a_schedule_that_makes_no_sense_is_passed_over() {
        let scale = scale(json!([
            { "cron": "soon", "duration": "1h", "min": 9 },
            { "cron": "* * * * *", "timezone": "Mars/Olympus", "duration": "1h", "min": 9 },
        ]));
        assert_eq!(bounds(&scale, at("2026-01-01T12:00:00Z")), (1, 10));
    }
}
