//! The record of one request: its metrics, and its line in the access log.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method};

use crate::{
    admin::metrics::Metrics, backend::function::Function, failure::Reason, proxy::timing::Timing,
    upstream::meter::Meter,
};

/// The status of a request whose client left before the response; the common number for it.
const CLIENT_CLOSED: u16 = 499;

/// The record of one request. It is written when dropped, whatever became of the request.
#[derive(Debug)]
pub(crate) struct Record {
    metrics: Arc<Metrics>,
    /// The phases so far.
    pub(crate) timing: Timing,
    function: Option<Arc<Function>>,
    /// Whether it went to the function's owner, which counts it.
    passed_on: bool,
    status: u16,
    reason: Option<Reason>,
    sent: u64,
    complete: bool,
    entry: Option<Box<Entry>>,
}

/// What only the access log wants to know.
#[derive(Debug)]
struct Entry {
    method: Method,
    host: HeaderValue,
    path: Box<str>,
    id: HeaderValue,
    revision: Box<str>,
    pod: Box<str>,
    meter: Arc<Meter>,
}

// === impl Record ===

impl Record {
    /// A record that begins now.
    #[must_use]
    pub(crate) fn begin(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            timing: Timing::begin(),
            function: None,
            passed_on: false,
            status: CLIENT_CLOSED,
            reason: None,
            sent: 0,
            complete: false,
            entry: None,
        }
    }

    /// Has the request logged. Returns what counts its body.
    pub(crate) fn log(
        &mut self,
        method: &Method,
        host: &HeaderValue,
        path: &str,
        id: &HeaderValue,
    ) -> Arc<Meter> {
        let meter = Arc::new(Meter::default());
        self.entry = Some(Box::new(Entry {
            method: method.clone(),
            host: host.clone(),
            path: path.into(),
            id: id.clone(),
            revision: Box::default(),
            pod: Box::default(),
            meter: meter.clone(),
        }));
        meter
    }

    /// What counts the body, if the request is logged.
    #[must_use]
    pub(crate) fn meter(&self) -> Option<Arc<Meter>> {
        self.entry.as_ref().map(|entry| entry.meter.clone())
    }

    /// The function the request is for.
    pub(crate) fn routed(&mut self, function: Arc<Function>) {
        self.function = Some(function);
    }

    /// The instance that works on it.
    pub(crate) fn assigned(&mut self, revision: &str, pod: &str) {
        self.passed_on = false;
        if let Some(entry) = &mut self.entry {
            entry.revision = revision.into();
            entry.pod = pod.into();
        }
    }

    /// The gateway, by its pod, that owns the function and works on the request.
    pub(crate) fn passed_on(&mut self, pod: &str) {
        self.passed_on = true;
        if let Some(entry) = &mut self.entry {
            entry.revision = Box::default();
            entry.pod = pod.into();
        }
    }

    /// The head of the function's response is there.
    pub(crate) fn answered(&mut self, status: u16) {
        self.status = status;
    }

    /// The gateway answers itself; its responses are complete at once.
    pub(crate) fn failed(&mut self, status: u16, reason: Reason) {
        self.status = status;
        self.reason = Some(reason);
        self.complete = true;
    }

    /// Bytes of the response's body went on.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// The response is complete.
    pub(crate) fn complete(&mut self) {
        self.complete = true;
    }

    /// The response broke off.
    pub(crate) fn broke(&mut self, reason: Reason) {
        self.reason = Some(reason);
        self.complete = true;
    }

    /// What kept it from being answered as a whole, if anything did.
    fn reason(&self) -> Option<Reason> {
        self.reason
            .or_else(|| (!self.complete).then_some(Reason::ClientClosed))
    }

    fn write_line(&self, entry: &Entry, duration: Duration) {
        let function = self.function.as_ref().map(|function| function.key());
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        tracing::info!(
            target: "fermata::access",
            method = entry.method.as_str(),
            host = text(&entry.host),
            path = &*entry.path,
            status = self.status,
            reason = self.reason().map_or("", Reason::as_str),
            duration_ms = millis(duration),
            queue_ms = millis(self.timing.queue),
            start_ms = millis(self.timing.start),
            connect_ms = millis(self.timing.connect),
            function_ms = millis(self.timing.function),
            received_bytes = entry.meter.bytes(),
            sent_bytes = self.sent,
            namespace = function.map_or("", |key| &key.namespace),
            function = function.map_or("", |key| &key.name),
            revision = &*entry.revision,
            pod = &*entry.pod,
            request_id = text(&entry.id),
            "request",
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let duration = self.timing.arrived.elapsed();
        match &self.function {
            Some(_) if self.passed_on => self.metrics.passed_on(),
            Some(function) => function.metrics().request(self.status, duration),
            None => self.metrics.unrouted(self.status),
        }
        if let Some(entry) = &self.entry {
            self.write_line(entry, duration);
        }
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}
