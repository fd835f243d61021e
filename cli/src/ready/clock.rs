//! The time that somebody is ready to wait. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// A clock that runs backwards, and may stand.
#[derive(Debug)]
pub(super) struct Clock {
    left: Duration,
    /// Since when it runs; it stands if there is nothing.
    since: Option<Instant>,
}

// === impl Clock ===

impl Clock {
    /// One that runs.
    pub(super) fn started(left: Duration, now: Instant) -> Self {
        Self {
            left,
            since: Some(now),
        }
    }

    /// Lets it stand, or run on.
    pub(super) fn stand(&mut self, stands: bool, now: Instant) {
        match (stands, self.since) {
            (true, Some(since)) => {
                self.left = self.left.saturating_sub(now - since);
                self.since = None;
            }
            (false, None) => self.since = Some(now),
            _ => {}
        }
    }

    /// When the time is over, if it runs on; never while it stands.
    pub(super) fn end(&self) -> Option<Instant> {
        self.since?.checked_add(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_meanwhile_does_not_count() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut clock = Clock::started(Duration::from_secs(120), start);
        assert_eq!(clock.end(), Some(at(120)));
        clock.stand(true, at(10));
        clock.stand(true, at(300));
        assert_eq!(clock.end(), None);
        clock.stand(false, at(500));
        clock.stand(false, at(550));
        assert_eq!(clock.end(), Some(at(610)));
    }
}
