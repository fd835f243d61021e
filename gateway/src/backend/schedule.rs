//! Times of day with bounds of their own.

use std::sync::{Arc, Mutex};

use fermata_crds::{
    Schedule,
    recurrence::{Phase, Recurrence},
};
use jiff::Timestamp;

use crate::sync::lock;

/// A [`Schedule`] that is ready for use.
#[derive(Clone, Debug)]
pub(crate) struct ScheduledBounds {
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
    pub(crate) fn of(schedule: &Schedule) -> Option<Self> {
        Some(Self {
            source: schedule.clone(),
            recurrence: Recurrence::of(schedule).ok()?,
            known: Arc::default(),
        })
    }

    /// What it was made from.
    pub(crate) fn source(&self) -> &Schedule {
        &self.source
    }

    /// Whether it is on.
    pub(crate) fn is_on(&self, now: Timestamp) -> bool {
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
