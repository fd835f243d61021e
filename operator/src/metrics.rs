//! What the operator counts, for Prometheus.

use std::time::{Duration, Instant};

use fermata_daemon::{events::EventCounters, watch::WatchEvent};
use prometheus::{
    Error, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    core::Collector, exponential_buckets,
};

/// Which controller a reconcile belongs to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Controller {
    /// Functions.
    Function,
    /// Revisions.
    Revision,
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Outcome {
    /// The object is as it should be.
    Ok,
    /// The object's own specification is at fault, which its conditions say.
    Rejected,
    /// The API server was at fault; it is tried again.
    Error,
}

/// The operator's metrics. Labels are the controller or a kind, never an object's name.
pub(crate) struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    errors: IntCounterVec,
    durations: HistogramVec,
    writes: IntCounterVec,
    unreadable: IntCounterVec,
    watch_errors: IntCounterVec,
    events_dropped: IntCounter,
    leader: IntGauge,
}

// === impl Controller ===

impl Controller {
    fn label(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Revision => "revision",
        }
    }
}

// === impl Outcome ===

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Rejected => "rejected",
            Self::Error => "error",
        }
    }
}

// === impl Metrics ===

impl Metrics {
    /// Metrics that are all zero.
    ///
    /// # Errors
    ///
    /// None as long as each has a name of its own, which Prometheus allows.
    pub(crate) fn new() -> Result<Self, Error> {
        let counters = |name, help, labels| IntCounterVec::new(Opts::new(name, help), labels);
        let durations = HistogramOpts::new(
            "fermata_reconcile_duration_seconds",
            "Time a reconcile took",
        )
        .buckets(exponential_buckets(0.001, 2.5, 10)?);
        let metrics = Self {
            registry: Registry::new(),
            reconciles: counters(
                "fermata_reconcile_total",
                "Reconciles finished",
                &["controller", "result"],
            )?,
            errors: counters(
                "fermata_reconcile_errors_total",
                "Reconciles that failed and are tried again, by what failed",
                &["controller", "category"],
            )?,
            durations: HistogramVec::new(durations, &["controller"])?,
            writes: counters(
                "fermata_api_writes_total",
                "Requests sent to change something in the cluster",
                &["kind"],
            )?,
            unreadable: counters(
                "fermata_unreadable_objects_total",
                "Objects seen that do not parse and are left alone",
                &["kind"],
            )?,
            watch_errors: counters(
                "fermata_watch_errors_total",
                "Watches that broke and were started again",
                &["kind"],
            )?,
            events_dropped: IntCounter::new(
                "fermata_events_dropped_total",
                "Events not recorded because too many were waiting",
            )?,
            leader: IntGauge::new(
                "fermata_operator_leader",
                "1 on the replica that does the work, 0 on those that stand by",
            )?,
        };
        metrics.register()?;
        Ok(metrics)
    }

    fn register(&self) -> Result<(), Error> {
        let collectors: [Box<dyn Collector>; 8] = [
            Box::new(self.reconciles.clone()),
            Box::new(self.errors.clone()),
            Box::new(self.durations.clone()),
            Box::new(self.writes.clone()),
            Box::new(self.unreadable.clone()),
            Box::new(self.watch_errors.clone()),
            Box::new(self.events_dropped.clone()),
            Box::new(self.leader.clone()),
        ];
        collectors
            .into_iter()
            .try_for_each(|collector| self.registry.register(collector))
    }

    /// Where all of them are found.
    pub(crate) fn registry(&self) -> Registry {
        self.registry.clone()
    }

    pub(crate) fn reconciled(&self, controller: Controller, result: Outcome, started: Instant) {
        self.reconciles
            .with_label_values(&[controller.label(), result.label()])
            .inc();
        self.durations
            .with_label_values(&[controller.label()])
            .observe(Duration::as_secs_f64(&started.elapsed()));
    }

    /// Counts a failure of this category.
    pub(crate) fn failed(&self, controller: Controller, category: &'static str) {
        self.errors
            .with_label_values(&[controller.label(), category])
            .inc();
    }

    pub(crate) fn wrote(&self, kind: &'static str) {
        self.writes.with_label_values(&[kind]).inc();
    }

    /// Counts what went wrong with a watch.
    pub(crate) fn told<K>(&self, kind: &'static str, told: &WatchEvent<K>) {
        let counters = match told {
            WatchEvent::Unreadable(_) => &self.unreadable,
            WatchEvent::Broke => &self.watch_errors,
            WatchEvent::There { .. } | WatchEvent::Gone { .. } | WatchEvent::Listed(_) => return,
        };
        counters.with_label_values(&[kind]).inc();
    }

    /// What counts Events.
    pub(crate) fn events(&self) -> EventCounters {
        EventCounters {
            written: self.writes.with_label_values(&["Event"]),
            dropped: self.events_dropped.clone(),
        }
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_documented_names() {
        let metrics = Metrics::new().expect("they are registered");
        metrics.reconciled(Controller::Function, Outcome::Ok, Instant::now());
        metrics.wrote("Revision");
        metrics.leads(true);
        let families = metrics.registry().gather();
        let text = prometheus::TextEncoder::new().encode_to_string(&families);
        let text = text.expect("a text");
        for line in [
            "# TYPE fermata_reconcile_total counter",
            r#"fermata_reconcile_total{controller="function",result="ok"} 1"#,
            r#"fermata_reconcile_duration_seconds_count{controller="function"} 1"#,
            r#"fermata_api_writes_total{kind="Revision"} 1"#,
            "fermata_events_dropped_total 0",
            "fermata_operator_leader 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
