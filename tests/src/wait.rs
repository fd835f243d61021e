//! Waiting for conditions.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a condition may take to become true before a test gives up.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Tries until the future gives a value, and gives that. The error of the last try tells why the
/// condition was not met.
///
/// # Panics
///
/// When the condition is not met within [`DEADLINE`].
pub async fn eventually<T>(what: &str, check: impl AsyncFnMut() -> Result<T, String>) -> T {
    eventually_within(DEADLINE, what, check).await
}

/// The same with a deadline of its own, for what depends on others.
///
/// # Panics
///
/// When the condition is not met until then.
pub async fn eventually_within<T>(
    deadline: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match check().await {
            Ok(value) => return value,
            Err(why) if start.elapsed() > deadline => {
                panic!("not so after {deadline:?}: {what}: {why}")
            }
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}
