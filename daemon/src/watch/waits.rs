//! How long a watch that broke waits before it begins again.
//!
//! After an outage of the API server everything that is known is as old as the outage and this wait
//! together, so it is short; it is spread, so that not all come back in one moment.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

/// The first wait; it doubles each time.
const FIRST: Duration = Duration::from_millis(200);

/// The longest wait, what is added by chance included.
const LONGEST: Duration = Duration::from_secs(5);

/// After how long without a failure waits begin with the first again. A single success says little:
/// a list may succeed and the watch after it fail, again and again.
const FORGET: Duration = Duration::from_secs(30);

/// The waits of one watch.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    failures: u32,
    last: Option<Instant>,
}

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let recent = |last| now.duration_since(last) < FORGET;
        if !self.last.is_some_and(recent) {
            self.failures = 0;
        }
        self.last = Some(now);
        // The last quarter is by chance.
        let wait = FIRST * 2_u32.saturating_pow(self.failures.min(8));
        let wait = wait.min(LONGEST * 3 / 4);
        self.failures = self.failures.saturating_add(1);
        Some(wait + wait / 3 * chance() / 1000)
    }
}

impl Backoff for Waits {
    fn reset(&mut self) {
        // The watcher says this at the beginning of each list, whether it succeeds or not.
    }
}

/// A number below a thousand.
fn chance() -> u32 {
    // Each state of the standard library's hasher has random keys.
    let number = RandomState::new().build_hasher().finish() % 1000;
    u32::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_to_a_bound_and_begin_anew_after_a_quiet_time() {
        let mut waits = Waits::default();
        let mut last = Duration::ZERO;
        for _ in 0..20 {
            let wait = waits.next().expect("a watch is never given up");
            assert!(wait <= LONGEST, "{wait:?}");
            last = wait;
            waits.reset();
            tokio::time::advance(wait).await;
        }
        assert!(last >= LONGEST * 3 / 4, "{last:?}");
        tokio::time::advance(FORGET).await;
        let wait = waits.next().expect("a watch is never given up");
        assert!(wait >= FIRST && wait <= FIRST * 4 / 3, "{wait:?}");
    }
}
