//! The metrics page: the numbers of the functions that exist, with their names, as families of Prometheus.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use fermata_daemon::watch::Key;
use prometheus::{
    core::{Collector, Desc},
    proto::{
        Bucket, Counter, Gauge, Histogram as Buckets, LabelPair, Metric, MetricFamily, MetricType,
    },
};

use super::{Decision, FunctionMetrics, Histogram, Metrics};
use crate::{
    backend::{function::Function, registry::Registry},
    cluster::watch::Health,
    sync::lock,
};

/// Everything that is shown.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

/// What all Revisions of one Function have together.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    desired: u32,
    ready: u32,
    queued: usize,
    active: u32,
}

/// A family whose samples are added one by one.
struct Family(MetricFamily);

// === impl Page ===

impl Page {
    /// A page of these numbers.
    #[must_use]
    pub(crate) fn new(registry: Arc<Registry>, metrics: Arc<Metrics>, health: Arc<Health>) -> Self {
        Self {
            registry,
            metrics,
            health,
        }
    }

    fn totals(&self) -> HashMap<Key, Totals> {
        let mut totals: HashMap<Key, Totals> = HashMap::new();
        for revision in self.registry.revisions() {
            let (desired, ready) =
                revision.observe(|observed| (observed.replicas().unwrap_or(0), observed.ready()));
            let (active, queued) = (revision.active(), revision.queue.waiting());
            if desired == 0 && ready == 0 && active == 0 {
                continue;
            }
            let key = revision.key().sibling(revision.function());
            let sum = totals.entry(key).or_default();
            sum.desired += desired;
            sum.ready += ready;
            sum.queued += queued;
            sum.active += active;
        }
        totals
    }

    fn requests(&self, functions: &[Arc<Function>]) -> MetricFamily {
        let mut family = Family::counter(
            "fermata_requests_total",
            "Requests that are over, by status code",
        );
        for function in functions {
            let Some(metrics) = function.known_metrics() else {
                continue;
            };
            for (code, count) in metrics.responses.counts() {
                let [namespace, name] = of_function(function.key());
                family.count(&[namespace, name, ("code", &code.to_string())], count);
            }
        }
        for (code, count) in self.metrics.unrouted.counts() {
            let code = code.to_string();
            let labels = [("namespace", ""), ("function", ""), ("code", &*code)];
            family.count(&labels, count);
        }
        family.0
    }

    fn trigger_runs(functions: &[Arc<Function>]) -> MetricFamily {
        let mut family = Family::counter(
            "fermata_trigger_runs_total",
            "Runs of triggers that are over or were left out, by result",
        );
        for function in functions {
            let Some(metrics) = function.known_metrics() else {
                continue;
            };
            for ((trigger, result), count) in lock(&metrics.runs).iter() {
                let [namespace, name] = of_function(function.key());
                let labels = [
                    namespace,
                    name,
                    ("trigger", &**trigger),
                    ("result", *result),
                ];
                family.count(&labels, *count);
            }
        }
        family.0
    }

    fn gauges(&self, functions: &[Arc<Function>]) -> [MetricFamily; 3] {
        let totals = self.totals();
        let mut queued = Family::gauge("fermata_queue_depth", "Requests that wait for an instance");
        let mut active = Family::gauge("fermata_requests_in_flight", "Requests that wait or run");
        let mut replicas = Family::gauge(
            "fermata_replicas",
            "Replicas that are asked for, and that take requests",
        );
        for function in functions {
            let sum = totals.get(function.key()).copied();
            if sum.is_none() && function.known_metrics().is_none() {
                continue;
            }
            let sum = sum.unwrap_or_default();
            let [namespace, name] = of_function(function.key());
            queued.measure(&[namespace, name], (sum.queued + function.waiting()) as f64);
            active.measure(&[namespace, name], sum.active.into());
            for (state, count) in [("desired", sum.desired), ("ready", sum.ready)] {
                replicas.measure(&[namespace, name, ("state", state)], count.into());
            }
        }
        [queued.0, active.0, replicas.0]
    }

    fn gateway(&self) -> Vec<MetricFamily> {
        let mut decisions = Family::counter(
            "fermata_scale_decisions_total",
            "Changes of the scale that were written",
        );
        for (name, decision) in [
            ("wake", Decision::Wake),
            ("up", Decision::Up),
            ("down", Decision::Down),
        ] {
            let count = self.metrics.counter(decision).load(Ordering::Relaxed);
            decisions.count(&[("direction", name)], count);
        }
        let mut families = vec![decisions.0];
        let passed_on = self.metrics.passed_on.load(Ordering::Relaxed);
        for (name, help, count) in [
            (
                "fermata_requests_passed_on_total",
                "Requests that another gateway, the owner of their function, worked on",
                passed_on,
            ),
            (
                "fermata_watch_errors_total",
                "Watches that failed and were begun again",
                self.health.errors(),
            ),
            (
                "fermata_watch_invalid_objects_total",
                "Objects that could not be read",
                self.health.invalid(),
            ),
        ] {
            let mut family = Family::counter(name, help);
            family.count(&[], count);
            families.push(family.0);
        }
        let mut leader = Family::gauge(
            "fermata_leader",
            "Whether this gateway is the one that scales",
        );
        let leads = self.metrics.leads.load(Ordering::Relaxed);
        leader.measure(&[], u8::from(leads).into());
        families.push(leader.0);
        families
    }
}

impl Collector for Page {
    /// None: what is described need not be the same at each scrape, and no other collector is there that could
    /// have a family of the same name.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let functions = self.registry.functions();
        let mut families = vec![
            self.requests(&functions),
            histograms(
                &functions,
                (
                    "fermata_request_duration_seconds",
                    "From the head of a request to the end of its response",
                ),
                |metrics| &metrics.durations,
            ),
            histograms(
                &functions,
                (
                    "fermata_cold_start_seconds",
                    "From the request that wakes a function until an instance takes it",
                ),
                |metrics| &metrics.cold_starts,
            ),
        ];
        families.push(Self::trigger_runs(&functions));
        families.extend(self.gauges(&functions));
        families.extend(self.gateway());
        families
    }
}

fn histograms(
    functions: &[Arc<Function>],
    (name, help): (&str, &str),
    of: fn(&FunctionMetrics) -> &Histogram<14>,
) -> MetricFamily {
    let mut family = Family::new(name, help, MetricType::HISTOGRAM);
    for function in functions {
        let Some(metrics) = function.known_metrics() else {
            continue;
        };
        let (sum, count, buckets) = of(metrics).snapshot();
        if count > 0 {
            family.observe(&of_function(function.key()), sum, count, &buckets);
        }
    }
    family.0
}

fn of_function(key: &Key) -> [(&'static str, &str); 2] {
    [("namespace", &*key.namespace), ("function", &*key.name)]
}

// === impl Family ===

impl Family {
    fn new(name: &str, help: &str, kind: MetricType) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Self(family)
    }

    fn counter(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::COUNTER)
    }

    fn gauge(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::GAUGE)
    }

    fn count(&mut self, labels: &[(&str, &str)], count: u64) {
        let mut counter = Counter::default();
        counter.set_value(count as f64);
        self.add(labels).set_counter(counter);
    }

    fn measure(&mut self, labels: &[(&str, &str)], value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        self.add(labels).set_gauge(gauge);
    }

    /// `buckets` are upper bounds and how many are below; what is above all of them is in the count alone.
    fn observe(&mut self, labels: &[(&str, &str)], sum: f64, count: u64, buckets: &[(f64, u64)]) {
        let buckets = buckets.iter().map(|&(bound, below)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(below);
            bucket
        });
        let mut histogram = Buckets::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_sum(sum);
        histogram.set_sample_count(count);
        self.add(labels).set_histogram(histogram);
    }

    fn add(&mut self, labels: &[(&str, &str)]) -> &mut Metric {
        let labels = labels.iter().map(|(name, value)| {
            let mut label = LabelPair::default();
            label.set_name((*name).to_owned());
            label.set_value((*value).to_owned());
            label
        });
        let metrics = self.0.mut_metric();
        metrics.push(Metric::from_label(labels.collect()));
        let last = metrics.len() - 1;
        &mut metrics[last]
    }
}
