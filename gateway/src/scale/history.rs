//! From the gateways' counters to the numbers of one Revision over time. Pure.

use std::{collections::HashMap, time::Duration};

use fermata_crds::Metric;

use super::{stats::RevisionReport, window::Window};
use crate::backend::load::Sample;

/// Reports closer together than this say nothing new.
const LEAST_STEP: u64 = 200_000;

/// The short window, as a share of the long one.
const PANIC_SHARE: f64 = 0.1;

/// The numbers of one Revision.
#[derive(Debug)]
pub(crate) struct History {
    begun: Duration,
    last_active: Duration,
    latest: f64,
    window: Window,
    /// The counters of each gateway when they were last read.
    last: HashMap<Box<str>, Counters>,
}

#[derive(Clone, Copy, Debug)]
struct Counters {
    at: u64,
    busy: u64,
    arrivals: u64,
    /// What they came to between the last two readings.
    number: f64,
}

/// One gateway's word about the Revision; `None` if it has nothing to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerStats<'a> {
    /// The gateway.
    pub(crate) instance: &'a str,
    /// When it said so, on its own scale of microseconds.
    pub(crate) at: u64,
    /// What it said.
    pub(crate) report: Option<&'a RevisionReport>,
}

// === impl History ===

impl History {
    /// An empty history that begins now.
    #[must_use]
    pub(crate) fn new(now: Duration, window: Duration) -> Self {
        Self {
            begun: now,
            last_active: now,
            latest: 0.0,
            window: Window::new(whole_seconds(window)),
            last: HashMap::new(),
        }
    }

    /// Takes in what all gateways say now.
    pub(crate) fn record(
        &mut self,
        now: Duration,
        window: Duration,
        metric: Metric,
        stats: &[PeerStats<'_>],
    ) {
        self.window.resize(whole_seconds(window));
        self.last
            .retain(|instance, _| stats.iter().any(|peer| *peer.instance == **instance));
        let mut number = 0.0;
        for peer in stats {
            let Some(report) = peer.report else {
                self.last.remove(peer.instance);
                continue;
            };
            let step = self.step(peer, report, metric);
            if report.active > 0 || step.1 {
                self.last_active = now;
            }
            number += step.0;
        }
        self.latest = number;
        self.window.record(now.as_secs(), number);
    }

    /// What a gateway's counters come to, and whether requests have come.
    fn step(
        &mut self,
        peer: &PeerStats<'_>,
        report: &RevisionReport,
        metric: Metric,
    ) -> (f64, bool) {
        let last = self.last.get(peer.instance).copied();
        let elapsed = last.map(|last| peer.at.saturating_sub(last.at));
        if let (Some(last), Some(elapsed)) = (last, elapsed)
            && elapsed < LEAST_STEP
        {
            let came = report.arrivals != last.arrivals;
            // A burst shows in what is under way before it shows in an average.
            let burst = if metric == Metric::Concurrency {
                f64::from(report.active)
            } else {
                0.0
            };
            return (last.number.max(burst), came);
        }
        let number = match (last, elapsed, metric) {
            (Some(last), Some(elapsed), Metric::Concurrency) => {
                let sample = Sample {
                    active: report.active,
                    busy: report.busy,
                };
                sample.average_since(last.busy, elapsed)
            }
            (Some(last), Some(elapsed), Metric::Rps) => {
                let came = report.arrivals.saturating_sub(last.arrivals);
                came as f64 / (elapsed as f64 / 1e6)
            }
            (_, _, Metric::Concurrency) => f64::from(report.active),
            (_, _, Metric::Rps) => 0.0,
        };
        let counters = Counters {
            at: peer.at,
            busy: report.busy,
            arrivals: report.arrivals,
            number,
        };
        self.last.insert(peer.instance.into(), counters);
        let came = last.is_some_and(|last| last.arrivals != report.arrivals);
        (number, came)
    }

    /// Something waits elsewhere that will come: there is no idle time now.
    pub(crate) fn stay_awake(&mut self, now: Duration) {
        self.last_active = now;
    }

    /// What was recorded last.
    #[must_use]
    pub(crate) fn latest(&self) -> f64 {
        self.latest
    }

    /// The average over the long window.
    #[must_use]
    pub(crate) fn stable(&self) -> f64 {
        self.window.average(usize::MAX)
    }

    /// The average over the short window.
    #[must_use]
    pub(crate) fn panic(&self, window: Duration) -> f64 {
        let seconds = (window.as_secs_f64() * PANIC_SHARE).round().max(1.0);
        self.window.average(seconds as usize)
    }

    /// How long there has been no request.
    #[must_use]
    pub(crate) fn idle_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.last_active)
    }

    /// How long numbers have been gathered.
    #[must_use]
    pub(crate) fn observed_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.begun)
    }
}

fn whole_seconds(window: Duration) -> usize {
    usize::try_from(window.as_secs()).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn report(active: u32, busy: u64, arrivals: u64) -> RevisionReport {
        RevisionReport {
            active,
            busy,
            arrivals,
            ..RevisionReport::default()
        }
    }

    fn peer<'a>(instance: &'a str, at: u64, report: Option<&'a RevisionReport>) -> PeerStats<'a> {
        PeerStats {
            instance,
            at,
            report,
        }
    }

    #[test]
    fn the_gateways_add_up_each_on_its_own_clock() {
        let mut history = History::new(Duration::ZERO, WINDOW);
        let (a, b) = (report(0, 0, 0), report(0, 7_000_000, 0));
        let stats = [
            peer("a", 1_000_000, Some(&a)),
            peer("b", 55_000_000, Some(&b)),
        ];
        history.record(Duration::from_secs(1), WINDOW, Metric::Concurrency, &stats);
        let (a, b) = (report(2, 2_000_000, 9), report(1, 8_000_000, 3));
        let stats = [
            peer("a", 2_000_000, Some(&a)),
            peer("b", 57_000_000, Some(&b)),
        ];
        history.record(Duration::from_secs(2), WINDOW, Metric::Concurrency, &stats);
        // 2.0 on a, 0.5 on b; the second before was 0.
        assert!((history.panic(Duration::from_secs(10)) - 2.5).abs() < 1e-6);
        assert!((history.stable() - 1.25).abs() < 1e-6);
        assert_eq!(
            history.idle_for(Duration::from_secs(5)),
            Duration::from_secs(3)
        );
    }

    #[test]
    fn rates_are_per_second() {
        let mut history = History::new(Duration::ZERO, WINDOW);
        for (second, arrivals) in [(1, 100), (3, 500)] {
            let report = report(0, 0, arrivals);
            let stats = [peer("a", second * 1_000_000, Some(&report))];
            history.record(Duration::from_secs(second), WINDOW, Metric::Rps, &stats);
        }
        assert!((history.panic(Duration::from_secs(10)) - 200.0).abs() < 1e-6);
    }

    #[test]
    fn a_gateway_that_starts_again_does_not_count_backwards() {
        let mut history = History::new(Duration::ZERO, WINDOW);
        let before = report(0, 0, 1000);
        let stats = [peer("old", 1_000_000, Some(&before))];
        history.record(Duration::from_secs(1), WINDOW, Metric::Rps, &stats);
        let after = report(1, 0, 1);
        let stats = [peer("new", 5, Some(&after))];
        history.record(Duration::from_secs(2), WINDOW, Metric::Rps, &stats);
        assert_eq!(history.stable(), 0.0);
        history.record(
            Duration::from_secs(3),
            WINDOW,
            Metric::Rps,
            &[peer("new", 6, None)],
        );
        assert_eq!(
            history.idle_for(Duration::from_secs(3)),
            Duration::from_secs(1)
        );
    }
}
