//! Time as one small number: microseconds since the process first asked. It fits in an atomic.

use std::{sync::OnceLock, time::Duration};

use tokio::time::Instant;

static EPOCH: OnceLock<Instant> = OnceLock::new();

/// Microseconds of monotonic time.
pub(crate) type Micros = u64;

/// Now, in microseconds since the process first asked.
#[must_use]
pub(crate) fn now() -> Micros {
    at(Instant::now())
}

/// An instant on the same scale.
#[must_use]
pub(crate) fn at(instant: Instant) -> Micros {
    // The scale begins a second before the first question, so that no early instant is lost.
    let epoch = EPOCH.get_or_init(|| {
        instant
            .checked_sub(Duration::from_secs(1))
            .unwrap_or(instant)
    });
    micros(instant.saturating_duration_since(*epoch))
}

/// A duration in microseconds.
#[must_use]
pub(crate) fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
