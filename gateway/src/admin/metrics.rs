//! Numbers, and how they are shown to Prometheus.
//!
//! A request touches only atomics of its own function. Names and labels are put together when
//! somebody asks, from the functions that exist then: what is deleted vanishes from the page.

mod others;
mod page;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

pub(crate) use others::Others;
pub(crate) use page::Page;

use crate::{clock, sync::lock};

/// Status codes with a counter of their own; others share a map.
const CODES: [u16; 27] = [
    101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 409, 413,
    422, 429, 431, 499, 500, 502, 503, 504,
];

/// Upper bounds of the durations of requests, in seconds.
const REQUEST_BOUNDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];

/// Upper bounds of the durations of cold starts, in seconds.
const COLD_BOUNDS: [f64; 14] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0,
];

/// Counters of runs, of one function: five results of a hundred triggers.
const MOST_RUN_COUNTERS: usize = 500;

/// Responses by status code.
#[derive(Debug, Default)]
pub(super) struct Responses {
    known: [AtomicU64; CODES.len()],
    other: Mutex<BTreeMap<u16, u64>>,
}

/// Durations in buckets.
#[derive(Debug)]
pub(super) struct Histogram<const N: usize> {
    bounds: &'static [f64; N],
    counts: [AtomicU64; N],
    above: AtomicU64,
    sum_micros: AtomicU64,
}

/// The numbers of one function.
#[derive(Debug)]
pub(crate) struct FunctionMetrics {
    responses: Responses,
    durations: Histogram<14>,
    cold_starts: Histogram<14>,
    /// Runs that are over, by trigger and result.
    runs: Mutex<BTreeMap<(Box<str>, &'static str), u64>>,
}

/// The numbers of the gateway itself.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    unrouted: Responses,
    passed_on: AtomicU64,
    wakes: AtomicU64,
    ups: AtomicU64,
    downs: AtomicU64,
    leads: AtomicBool,
}

/// A change of the scale.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Decision {
    /// From zero, for waiting requests.
    Wake,
    /// More replicas.
    Up,
    /// Fewer replicas.
    Down,
}

// === impl Responses ===

impl Responses {
    fn count(&self, code: u16) {
        match CODES.binary_search(&code) {
            Ok(index) => {
                if let Some(counter) = self.known.get(index) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(_) => *lock(&self.other).entry(code).or_default() += 1,
        }
    }

    /// Those codes that occurred.
    fn counts(&self) -> Vec<(u16, u64)> {
        let known = CODES.into_iter().zip(&self.known);
        let known = known.map(|(code, count)| (code, count.load(Ordering::Relaxed)));
        let mut counts: Vec<_> = known.filter(|(_, count)| *count > 0).collect();
        counts.extend(
            lock(&self.other)
                .iter()
                .map(|(code, count)| (*code, *count)),
        );
        counts
    }
}

// === impl Histogram ===

impl<const N: usize> Histogram<N> {
    fn new(bounds: &'static [f64; N]) -> Self {
        Self {
            bounds,
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            above: AtomicU64::new(0),
            sum_micros: AtomicU64::new(0),
        }
    }

    fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let index = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts
            .get(index)
            .unwrap_or(&self.above)
            .fetch_add(1, Ordering::Relaxed);
        self.sum_micros
            .fetch_add(clock::micros(duration), Ordering::Relaxed);
    }

    /// The sum in seconds, the count, and of each bound how many are not above it.
    fn snapshot(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let counts = self.bounds.iter().copied().zip(&self.counts);
        let mut below = 0;
        let buckets = counts.map(|(bound, count)| {
            below += count.load(Ordering::Relaxed);
            (bound, below)
        });
        let buckets = buckets.collect();
        let sum = self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6;
        (sum, below + self.above.load(Ordering::Relaxed), buckets)
    }
}

// === impl FunctionMetrics ===

impl Default for FunctionMetrics {
    fn default() -> Self {
        Self {
            responses: Responses::default(),
            durations: Histogram::new(&REQUEST_BOUNDS),
            cold_starts: Histogram::new(&COLD_BOUNDS),
            runs: Mutex::default(),
        }
    }
}

impl FunctionMetrics {
    /// A request is over.
    pub(crate) fn request(&self, code: u16, duration: Duration) {
        self.responses.count(code);
        self.durations.observe(duration);
    }

    /// An instance was started from zero.
    pub(crate) fn cold_start(&self, duration: Duration) {
        self.cold_starts.observe(duration);
    }

    /// A run of a trigger is over.
    pub(crate) fn trigger_run(&self, trigger: &str, result: &'static str) {
        let mut runs = lock(&self.runs);
        // Triggers that were renamed again and again stay for as long as the function does.
        if runs.len() < MOST_RUN_COUNTERS {
            *runs.entry((trigger.into(), result)).or_default() += 1;
        } else if let Some(count) = runs.get_mut(&(trigger.into(), result)) {
            *count += 1;
        }
    }
}

// === impl Metrics ===

impl Metrics {
    /// A request that no function is there for is over.
    pub(crate) fn unrouted(&self, code: u16) {
        self.unrouted.count(code);
    }

    /// A request that another gateway worked on is over.
    pub(crate) fn passed_on(&self) {
        self.passed_on.fetch_add(1, Ordering::Relaxed);
    }

    /// A scale was written.
    pub(crate) fn decided(&self, decision: Decision) {
        self.counter(decision).fetch_add(1, Ordering::Relaxed);
    }

    /// Whether this gateway is the one that scales.
    pub(crate) fn set_leads(&self, leads: bool) {
        self.leads.store(leads, Ordering::Relaxed);
    }

    fn counter(&self, decision: Decision) -> &AtomicU64 {
        match decision {
            Decision::Wake => &self.wakes,
            Decision::Up => &self.ups,
            Decision::Down => &self.downs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_so_that_they_are_found() {
        assert!(CODES.is_sorted());
        let responses = Responses::default();
        for code in [200, 200, 418, 504] {
            responses.count(code);
        }
        assert_eq!(responses.counts(), [(200, 2), (504, 1), (418, 1)]);
    }

    #[test]
    fn durations_go_into_the_first_bucket_that_holds_them() {
        let histogram = Histogram::new(&REQUEST_BOUNDS);
        for millis in [0, 1, 2, 60_000, 60_001] {
            histogram.observe(Duration::from_millis(millis));
        }
        let (sum, count, buckets) = histogram.snapshot();
        assert!((sum - 120.004).abs() < 1e-6);
        assert_eq!(count, 5);
        assert_eq!(buckets.first(), Some(&(0.001, 2)));
        assert_eq!(buckets.get(12), Some(&(10.0, 3)));
        assert_eq!(buckets.last(), Some(&(60.0, 4)), "one is above all bounds");
    }
}
