//! The numbers of the events program.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use crate::{
    invocation::{Invocation, Left, State},
    store::{Observer, Store},
};

/// Upper bounds of the buckets for how long calls took, in seconds.
const BUCKETS: [f64; 12] = [
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 21600.0,
];

/// Counters, and what is read off the store.
#[derive(Debug)]
pub(crate) struct Metrics {
    accepted: IntCounterVec,
    refused: IntCounterVec,
    published: IntCounterVec,
    finished: IntCounterVec,
    retried: IntCounterVec,
    duration: Histogram,
    dropped: IntCounter,
    callbacks: IntCounterVec,
    dead_letters: IntCounterVec,
}

/// What the store holds, read when it is asked for.
#[derive(Debug)]
pub(crate) struct Page {
    store: Store,
    waiting: IntGaugeVec,
    running: IntGaugeVec,
    oldest: IntGaugeVec,
    failed: IntGaugeVec,
    records: IntGauge,
}

// === impl Metrics ===

impl Metrics {
    /// Makes and registers them.
    ///
    /// # Errors
    ///
    /// When one of the names is taken.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let function = ["namespace", "function"];
        let duration = Histogram::with_opts(
            HistogramOpts::new(
                "fermata_invocation_duration_seconds",
                "From the acceptance of an asynchronous call until it was over.",
            )
            .buckets(BUCKETS.into()),
        )?;
        registry.register(Box::new(duration.clone()))?;
        let dropped = IntCounter::new(
            "fermata_invocations_dropped_total",
            "Records of calls that are over, removed before their time for want of room.",
        )?;
        registry.register(Box::new(dropped.clone()))?;
        Ok(Self {
            accepted: counter(
                "fermata_invocations_accepted_total",
                "Asynchronous calls that were kept, and deliveries of messages.",
                &function,
            )?,
            refused: counter(
                "fermata_invocations_refused_total",
                "Asynchronous calls and messages that were not kept, by reason.",
                &["reason"],
            )?,
            published: counter(
                "fermata_messages_published_total",
                "Messages that were kept for all who hear their topic.",
                &["namespace", "topic"],
            )?,
            finished: counter(
                "fermata_invocations_finished_total",
                "Asynchronous calls that are over, by how.",
                &["namespace", "function", "state"],
            )?,
            retried: counter(
                "fermata_invocations_retried_total",
                "Attempts of asynchronous calls after which they wait for another one.",
                &function,
            )?,
            callbacks: counter(
                "fermata_invocation_callbacks_total",
                "Attempts to tell somebody what became of an asynchronous call, by what came of them.",
                &["result"],
            )?,
            dead_letters: counter(
                "fermata_dead_letters_total",
                "Attempts to publish a call that has failed to its topic of dead letters, by what came of them.",
                &["result"],
            )?,
            duration,
            dropped,
        })
    }

    /// A call came in, and was kept, or with the reason not.
    pub(crate) fn accepted(&self, namespace: &str, function: &str, refused: Option<&'static str>) {
        let labels = [namespace, function];
        match refused {
            None => self.accepted.with_label_values(&labels).inc(),
            Some(reason) => self.refused.with_label_values(&[reason]).inc(),
        }
    }

    /// So many messages came in at once, and were kept, or with the reason not.
    pub(crate) fn published(
        &self,
        namespace: &str,
        topic: &str,
        messages: u64,
        refused: Option<&'static str>,
    ) {
        match refused {
            None => self
                .published
                .with_label_values(&[namespace, topic])
                .inc_by(messages),
            Some(reason) => self.refused.with_label_values(&[reason]).inc(),
        }
    }

    /// Records were removed for want of room.
    pub(crate) fn dropped(&self, records: u64) {
        self.dropped.inc_by(records);
    }
}

impl Observer for Metrics {
    fn settled(&self, invocation: &Invocation) {
        let left = invocation.left();
        let callback = invocation.callback.as_ref();
        let called_back = callback.is_some_and(|callback| callback.attempts > 0);
        if let Some(callback) = callback.filter(|_| called_back) {
            let result = match callback.delivered {
                None => "retried",
                Some(true) => "delivered",
                Some(false) => "given_up",
            };
            self.callbacks.with_label_values(&[result]).inc();
        }
        // What comes after it is the callback.
        let burial = invocation.burial.as_ref();
        if let Some(burial) = burial.filter(|burial| burial.attempts > 0 && !called_back) {
            let result = match burial.published {
                None => "retried",
                Some(true) => "published",
                Some(false) => "given_up",
            };
            self.dead_letters.with_label_values(&[result]).inc();
        }
        if left == Left::Burial || left == Left::Callback {
            return;
        }
        let (namespace, function) = (&*invocation.namespace, &*invocation.function);
        let state = match invocation.state {
            State::Waiting => {
                self.retried.with_label_values(&[namespace, function]).inc();
                return;
            }
            State::Succeeded => "succeeded",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
        };
        self.finished
            .with_label_values(&[namespace, function, state])
            .inc();
        let took = Timestamp::now().duration_since(invocation.accepted_at);
        let took: Duration = took.try_into().unwrap_or_default();
        self.duration.observe(took.as_secs_f64());
    }
}

// === impl Page ===

impl Page {
    /// What this store holds.
    ///
    /// # Errors
    ///
    /// When one of the names is none.
    pub(crate) fn new(store: Store) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            IntGaugeVec::new(Opts::new(name, help), &["namespace", "function"])
        };
        Ok(Self {
            store,
            waiting: gauge(
                "fermata_invocations_waiting",
                "Asynchronous calls that wait for an attempt.",
            )?,
            running: gauge(
                "fermata_invocations_running",
                "Asynchronous calls that are being made.",
            )?,
            oldest: gauge(
                "fermata_invocations_oldest_timestamp_seconds",
                "When the oldest asynchronous call was accepted that is not over, in seconds since 1970.",
            )?,
            failed: gauge(
                "fermata_invocations_failed",
                "Asynchronous calls that have failed and can be tried anew.",
            )?,
            records: IntGauge::new(
                "fermata_invocations_records",
                "Asynchronous calls that are over and of which is known what became of them.",
            )?,
        })
    }
}

impl Collector for Page {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = [&self.waiting, &self.running, &self.oldest, &self.failed];
        let mut descriptions: Vec<&Desc> = gauges.iter().flat_map(|gauge| gauge.desc()).collect();
        descriptions.extend(self.records.desc());
        descriptions
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let gauges = [&self.waiting, &self.running, &self.oldest, &self.failed];
        for gauge in gauges {
            gauge.reset();
        }
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (function, backlog) in self.store.backlogs() {
            let labels = [&*function.namespace, &*function.name];
            self.waiting
                .with_label_values(&labels)
                .set(count(backlog.waiting));
            self.running
                .with_label_values(&labels)
                .set(count(backlog.running));
            if let Some(oldest) = backlog.oldest {
                let accepted = oldest.accepted_at().as_second();
                self.oldest.with_label_values(&labels).set(accepted);
            }
        }
        for (function, failed) in self.store.all_failed() {
            let labels = [&*function.namespace, &*function.name];
            self.failed.with_label_values(&labels).set(count(failed));
        }
        self.records.set(count(self.store.records()));
        let mut families: Vec<MetricFamily> =
            gauges.iter().flat_map(|gauge| gauge.collect()).collect();
        families.extend(self.records.collect());
        families
    }
}
