//! What the operator counts, for Prometheus.

use std::{
    fmt,
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

use fermata_daemon::watch::Told;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
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

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Reconcile {
    controller: Controller,
    result: Outcome,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByController {
    controller: Controller,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByKind {
    kind: &'static str,
}

/// The operator's metrics. Labels are the controller or a kind, never an object's name.
pub(crate) struct Metrics {
    registry: Registry,
    reconciles: Family<Reconcile, Counter>,
    durations: Family<ByController, Histogram, fn() -> Histogram>,
    writes: Family<ByKind, Counter>,
    unreadable: Family<ByKind, Counter>,
    watch_errors: Family<ByKind, Counter>,
    events_dropped: Counter,
    leader: Gauge<f64, AtomicU64>,
}

// === impl Controller ===

impl EncodeLabelValue for Controller {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let name = match self {
            Self::Function => "function",
            Self::Revision => "revision",
        };
        name.encode(encoder)
    }
}

// === impl Outcome ===

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let name = match self {
            Self::Ok => "ok",
            Self::Rejected => "rejected",
            Self::Error => "error",
        };
        name.encode(encoder)
    }
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            reconciles: Family::default(),
            durations: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 2.5, 10))
            }),
            writes: Family::default(),
            unreadable: Family::default(),
            watch_errors: Family::default(),
            events_dropped: Counter::default(),
            leader: Gauge::default(),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let registry = self.registry.sub_registry_with_prefix("fermata");
        registry.register("reconcile", "Reconciles finished", self.reconciles.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "Time a reconcile took",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register(
            "api_writes",
            "Requests sent to change something in the cluster",
            self.writes.clone(),
        );
        registry.register(
            "unreadable_objects",
            "Objects seen that do not parse and are left alone",
            self.unreadable.clone(),
        );
        registry.register(
            "watch_errors",
            "Watches that broke and were started again",
            self.watch_errors.clone(),
        );
        registry.register(
            "events_dropped",
            "Events not recorded because too many were waiting",
            self.events_dropped.clone(),
        );
        registry.register(
            "operator_leader",
            "1 on the replica that does the work, 0 on those that stand by",
            self.leader.clone(),
        );
        self
    }

    pub(crate) fn reconciled(&self, controller: Controller, result: Outcome, started: Instant) {
        self.reconciles
            .get_or_create(&Reconcile { controller, result })
            .inc();
        self.durations
            .get_or_create(&ByController { controller })
            .observe(Duration::as_secs_f64(&started.elapsed()));
    }

    pub(crate) fn wrote(&self, kind: &'static str) {
        self.writes.get_or_create(&ByKind { kind }).inc();
    }

    /// Counts what went wrong with a watch.
    pub(crate) fn told<K>(&self, kind: &'static str, told: &Told<K>) {
        let family = match told {
            Told::Unreadable(_) => &self.unreadable,
            Told::Broke => &self.watch_errors,
            Told::There { .. } | Told::Gone { .. } | Told::Listed(_) => return,
        };
        family.get_or_create(&ByKind { kind }).inc();
    }

    pub(crate) fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(if leads { 1.0 } else { 0.0 });
    }

    /// The metrics in the text format (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_documented_names() {
        let metrics = Metrics::new();
        metrics.reconciled(Controller::Function, Outcome::Ok, Instant::now());
        metrics.wrote("Revision");
        metrics.leads(true);
        let text = metrics.text();
        for line in [
            r#"fermata_reconcile_total{controller="function",result="ok"} 1"#,
            r#"fermata_reconcile_duration_seconds_count{controller="function"} 1"#,
            r#"fermata_api_writes_total{kind="Revision"} 1"#,
            "fermata_operator_leader 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
