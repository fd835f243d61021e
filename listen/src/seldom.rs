//! Saying something at most once in a while, and how often it would have been said.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Counts what happens, and says when it is time to tell.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    count: u64,
}

// === impl Seldom ===

impl Seldom {
    /// Tells at most once per `every`.
    #[must_use]
    pub fn every(every: Duration) -> Self {
        Self {
            every,
            state: Mutex::default(),
        }
    }

    /// It has happened. How often it has since the last time it was told, if it is time to tell again.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        self.count_at(Instant::now())
    }

    fn count_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.count += 1;
        let due = state
            .told
            .is_none_or(|told| now.saturating_duration_since(told) >= self.every);
        if !due {
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_together() {
        let seldom = Seldom::every(Duration::from_secs(10));
        let begun = Instant::now();
        let told: Vec<u64> = (0..25)
            .filter_map(|second| seldom.count_at(begun + Duration::from_secs(second)))
            .collect();
        assert_eq!(told, [1, 10, 10]);
    }
}
