//! The metrics page.

use std::{
    collections::HashMap,
    fmt::Error,
    sync::{Arc, atomic::Ordering},
};

use fermata_daemon::watch::Key;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::{Decision, FunctionMetrics, Histogram, Metrics};
use crate::{
    backend::{function::Function, registry::Registry as Table},
    cluster::watch::Health,
};

/// Everything that is shown.
#[derive(Clone, Debug)]
pub struct Page {
    table: Arc<Table>,
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

type NoLabels = [(&'static str, &'static str); 0];

// === impl Page ===

impl Page {
    /// A page of these numbers.
    #[must_use]
    pub fn new(table: Arc<Table>, metrics: Arc<Metrics>, health: Arc<Health>) -> Self {
        Self {
            table,
            metrics,
            health,
        }
    }

    /// The page in the text format of OpenMetrics.
    ///
    /// # Errors
    ///
    /// None that could occur while writing to memory.
    pub fn text(&self) -> Result<String, Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(text)
    }

    fn totals(&self) -> HashMap<Key, Totals> {
        let mut totals: HashMap<Key, Totals> = HashMap::new();
        for revision in self.table.revisions() {
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

    fn requests(
        &self,
        encoder: &mut DescriptorEncoder,
        functions: &[Arc<Function>],
    ) -> Result<(), Error> {
        let mut family = encoder.encode_descriptor(
            "fermata_requests",
            "Requests that are over, by status code",
            None,
            MetricType::Counter,
        )?;
        for function in functions {
            let Some(metrics) = function.known_metrics() else {
                continue;
            };
            for (code, count) in metrics.responses.counts() {
                let code = code.to_string();
                let labels = code_labels(function.key(), &code);
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        for (code, count) in self.metrics.unrouted.counts() {
            let code = code.to_string();
            let labels = [("namespace", ""), ("function", ""), ("code", code.as_str())];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauges(
        &self,
        encoder: &mut DescriptorEncoder,
        functions: &[Arc<Function>],
    ) -> Result<(), Error> {
        let totals = self.totals();
        let known: Vec<(&Key, Totals)> = functions
            .iter()
            .filter_map(|function| {
                let sum = totals.get(function.key()).copied();
                let shown = sum.is_some() || function.known_metrics().is_some();
                shown.then(|| {
                    let mut sum = sum.unwrap_or_default();
                    sum.queued += function.waiting();
                    (function.key(), sum)
                })
            })
            .collect();
        let gauge = MetricType::Gauge;
        let mut family = encoder.encode_descriptor(
            "fermata_queue_depth",
            "Requests that wait for an instance",
            None,
            gauge,
        )?;
        for (key, sum) in &known {
            let queued = i64::try_from(sum.queued).unwrap_or(i64::MAX);
            ConstGauge::new(queued).encode(family.encode_family(&labels(key))?)?;
        }
        let mut family = encoder.encode_descriptor(
            "fermata_requests_in_flight",
            "Requests that wait or run",
            None,
            gauge,
        )?;
        for (key, sum) in &known {
            ConstGauge::new(i64::from(sum.active)).encode(family.encode_family(&labels(key))?)?;
        }
        let mut family = encoder.encode_descriptor(
            "fermata_replicas",
            "Replicas that are asked for, and that take requests",
            None,
            gauge,
        )?;
        for (key, sum) in &known {
            for (state, count) in [("desired", sum.desired), ("ready", sum.ready)] {
                let [namespace, function] = labels(key);
                let labels = [namespace, function, ("state", state)];
                ConstGauge::new(i64::from(count)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn gateway(&self, encoder: &mut DescriptorEncoder) -> Result<(), Error> {
        let mut family = encoder.encode_descriptor(
            "fermata_scale_decisions",
            "Changes of the scale that were written",
            None,
            MetricType::Counter,
        )?;
        let decisions = [
            ("wake", Decision::Wake),
            ("up", Decision::Up),
            ("down", Decision::Down),
        ];
        for (name, decision) in decisions {
            let count = self.metrics.counter(decision).load(Ordering::Relaxed);
            ConstCounter::new(count).encode(family.encode_family(&[("direction", name)])?)?;
        }
        let passed_on = self.metrics.passed_on.load(Ordering::Relaxed);
        for (name, help, count) in [
            (
                "fermata_requests_passed_on",
                "Requests that another gateway, the keeper of their function, worked on",
                passed_on,
            ),
            (
                "fermata_watch_errors",
                "Watches that failed and were begun again",
                self.health.errors(),
            ),
            (
                "fermata_watch_invalid_objects",
                "Objects that could not be read",
                self.health.invalid(),
            ),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(count).encode(metric)?;
        }
        let leads = i64::from(self.metrics.leads.load(Ordering::Relaxed));
        let help = "Whether this gateway is the one that scales";
        let metric = encoder.encode_descriptor("fermata_leader", help, None, MetricType::Gauge)?;
        ConstGauge::new(leads).encode(metric)
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let functions = self.table.functions();
        self.requests(&mut encoder, &functions)?;
        histograms(
            &mut encoder,
            &functions,
            (
                "fermata_request_duration_seconds",
                "From the head of a request to the end of its response",
            ),
            |metrics| &metrics.durations,
        )?;
        histograms(
            &mut encoder,
            &functions,
            (
                "fermata_cold_start_seconds",
                "From the request that wakes a function until an instance takes it",
            ),
            |metrics| &metrics.cold_starts,
        )?;
        self.gauges(&mut encoder, &functions)?;
        self.gateway(&mut encoder)
    }
}

fn histograms(
    encoder: &mut DescriptorEncoder,
    functions: &[Arc<Function>],
    (name, help): (&str, &str),
    of: fn(&FunctionMetrics) -> &Histogram<14>,
) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for function in functions {
        let Some(metrics) = function.known_metrics() else {
            continue;
        };
        let (sum, count, buckets) = of(metrics).snapshot();
        if count > 0 {
            let labels = labels(function.key());
            let mut metric = family.encode_family(&labels)?;
            metric.encode_histogram::<NoLabels>(sum, count, &buckets, None)?;
        }
    }
    Ok(())
}

fn labels(key: &Key) -> [(&'static str, &str); 2] {
    [("namespace", &*key.namespace), ("function", &*key.name)]
}

fn code_labels<'a>(key: &'a Key, code: &'a str) -> [(&'static str, &'a str); 3] {
    let [namespace, function] = labels(key);
    [namespace, function, ("code", code)]
}
