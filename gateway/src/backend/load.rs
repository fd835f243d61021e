//! How busy something is, for the price of one atomic addition per request and per answer.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Micros;

const ACTIVE_BITS: u32 = 20;
const ACTIVE_MASK: u64 = (1 << ACTIVE_BITS) - 1;

/// The sum in a [`Sample`] wraps at this many microseconds (203 days of one request).
pub(crate) const BUSY_MODULUS: u64 = 1 << (64 - ACTIVE_BITS);

/// Counts requests at once and sums up their time.
///
/// Both numbers live in one word, so that a reader never sees one without the other: the low 20
/// bits count the requests under way, the high 44 bits hold (sum of ends - sum of starts) modulo
/// 2^44 microseconds. An overflow of the high part falls off the end of the word; the low part
/// never underflows, because each request is counted in before it is counted out.
#[derive(Debug, Default)]
pub(crate) struct Load(AtomicU64);

/// What [`Load`] says at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Sample {
    /// Requests under way.
    pub(crate) active: u32,
    /// Microseconds that all requests together have taken, modulo [`BUSY_MODULUS`].
    pub(crate) busy: u64,
}

// === impl Load ===

impl Load {
    /// A request begins.
    pub(crate) fn enter(&self, now: Micros) {
        let change = (now.wrapping_neg() << ACTIVE_BITS).wrapping_add(1);
        self.0.fetch_add(change, Ordering::Relaxed);
    }

    /// A request that began ends.
    pub(crate) fn exit(&self, now: Micros) {
        let change = (now << ACTIVE_BITS).wrapping_sub(1);
        self.0.fetch_add(change, Ordering::Relaxed);
    }

    /// Requests under way.
    #[must_use]
    pub(crate) fn active(&self) -> u32 {
        (self.0.load(Ordering::Relaxed) & ACTIVE_MASK) as u32
    }

    /// Both numbers as of now.
    #[must_use]
    pub(crate) fn sample(&self, now: Micros) -> Sample {
        let word = self.0.load(Ordering::Relaxed);
        let active = word & ACTIVE_MASK;
        let ended = word >> ACTIVE_BITS;
        let busy = ended.wrapping_add(active.wrapping_mul(now)) % BUSY_MODULUS;
        Sample {
            active: active as u32,
            busy,
        }
    }
}

// === impl Sample ===

impl Sample {
    /// The average number of requests at once between two samples; `elapsed` lies between them.
    #[must_use]
    pub(crate) fn average_since(self, earlier_busy: u64, elapsed: Micros) -> f64 {
        if elapsed == 0 {
            return f64::from(self.active);
        }
        let busy = self.busy.wrapping_sub(earlier_busy) % BUSY_MODULUS;
        busy as f64 / elapsed as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_over_the_time_between_samples() {
        let load = Load::default();
        let before = load.sample(1_000_000);
        load.enter(1_000_000);
        load.enter(1_500_000);
        let middle = load.sample(2_000_000);
        assert_eq!(middle.active, 2);
        assert!((middle.average_since(before.busy, 1_000_000) - 1.5).abs() < 1e-9);
        load.exit(2_000_000);
        load.exit(2_500_000);
        let after = load.sample(3_000_000);
        assert_eq!(after.active, 0);
        assert!((after.average_since(middle.busy, 1_000_000) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn the_sum_wraps_without_touching_the_count() {
        let load = Load::default();
        let late = BUSY_MODULUS - 10;
        let before = load.sample(late);
        load.enter(late);
        load.enter(late + 5);
        assert_eq!(load.active(), 2);
        load.exit(late + 30);
        load.exit(late + 30);
        let after = load.sample(late + 100);
        assert_eq!(after.active, 0);
        assert!((after.average_since(before.busy, 55) - 1.0).abs() < 1e-9);
    }
}
