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
        let pause = match self.last {
            Some(last) if started.elapsed() < HEALTHY => (last * 2).min(LONGEST),
            _ => FIRST,
        };
        self.last = Some(pause);
        pause
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
}
