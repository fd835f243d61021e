//! When an object whose reconcile failed is tried again.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use fermata_daemon::watch::Key;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(60);

/// Counts the failures in a row of each object, and forgets an object as soon as it succeeds or is
/// found to be gone, so that no more are remembered than wait for their next try.
#[derive(Default)]
pub(crate) struct Backoff {
    failures: Mutex<HashMap<Key, u32>>,
}

// === impl Backoff ===

impl Backoff {
    /// Counts one more failure and says how long to wait.
    pub(crate) fn failed(&self, key: &Key) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        delay(key, *count)
    }

    /// Forgets the failures of an object that succeeded or is gone.
    pub(crate) fn forget(&self, key: &Key) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(key);
    }

    /// How many objects failed when they were tried last.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.len()
    }
}

/// Doubles with each failure. Up to a fifth is added, by the name, so that objects which failed
/// together do not come back together.
fn delay(key: &Key, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let base = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let share = u32::try_from(hasher.finish() % 200).unwrap_or_default();
    base + base * share / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_anew_after_a_success() {
        let (backoff, key) = (Backoff::default(), Key::new("default", "a"));
        let first = backoff.failed(&key);
        assert!(first >= FIRST && first < FIRST * 2);
        let mut last = first;
        for _ in 0..40 {
            last = backoff.failed(&key);
        }
        assert!(last >= LONGEST && last <= LONGEST * 6 / 5);
        backoff.forget(&key);
        assert_eq!(backoff.failed(&key), first);
    }
}
