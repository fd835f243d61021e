//! How long a container waits before its next try.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause. The kubelet's is ten seconds, which is long for somebody who mends a function
/// and watches.
const FIRST: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// A run this long counts as a success: the next failure begins with the first pause again.
const HEALTHY: Duration = Duration::from_secs(120);

/// Pauses that double with each failure.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    last: Option<Duration>,
}

// === impl Backoff ===

impl Backoff {
    /// The pause after a try that began at `started` and failed now.
    pub(super) fn after(&mut self, started: Instant) -> Duration {
        let pause = match self.recent(started) {
            Some(last) if !last.is_zero() => (last * 2).min(LONGEST),
            _ => FIRST,
        };
        self.last = Some(pause);
        pause
    }

    /// The pause before a container is run again that ran from `started` until now. As with the
    /// kubelet, the first restart is at once: one crash may be an accident, for which nobody should
    /// have to wait.
    pub(super) fn before_restart(&mut self, started: Instant) -> Duration {
        if self.recent(started).is_some() {
            return self.after(started);
        }
        self.last = Some(Duration::ZERO);
        Duration::ZERO
    }

    /// The last pause, unless a long run came after it.
    fn recent(&self, started: Instant) -> Option<Duration> {
        self.last.filter(|_| started.elapsed() < HEALTHY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_a_bound_and_begin_anew_after_a_long_run() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..8)
            .map(|_| backoff.after(Instant::now()).as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        let started = Instant::now();
        tokio::time::advance(HEALTHY).await;
        assert_eq!(backoff.after(started), FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_restart_is_at_once_and_again_after_a_long_run() {
        let mut backoff = Backoff::default();
        let mut restart = |started| backoff.before_restart(started).as_secs();
        let pauses: Vec<u64> = (0..5).map(|_| restart(Instant::now())).collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8]);
        let started = Instant::now();
        tokio::time::advance(HEALTHY).await;
        assert_eq!(restart(started), 0);
        assert_eq!(restart(Instant::now()), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_crash_after_starts_that_were_refused_is_none_of_the_first() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.after(Instant::now()), FIRST);
        assert_eq!(backoff.before_restart(Instant::now()), FIRST * 2);
    }
}
