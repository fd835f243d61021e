//! A gateway and an events program of their own, as on Kubernetes, and those who call them.

use std::{net::SocketAddr, ops::Range, time::Duration};

use bytes::Bytes;
use fermata_tests::{Kept, Space, eventually_within};
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Book;
use crate::process::{self, Process};

/// How long anything may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(60);

/// Messages of one batch.
pub(super) const BATCH: u64 = 500;

pub(super) struct Stand {
    space: Space,
    dir: TempDir,
    gateway: Option<Process>,
    events: Option<Process>,
}

/// One connection of somebody who calls.
pub(super) struct Caller<'a> {
    stand: &'a Stand,
    kept: Kept,
}

// === impl Stand ===

impl Stand {
    pub(super) async fn start(space: &Space) -> Self {
        let mut stand = Self {
            space: space.clone(),
            // Beside the program, for /tmp may be in memory.
            dir: TempDir::new_in("target").expect("a directory"),
            gateway: None,
            events: None,
        };
        stand.restart_gateway().await;
        stand.restart_events().await;
        stand
    }

    pub(super) fn space(&self) -> &Space {
        &self.space
    }

    pub(super) fn gateway_address(&self) -> SocketAddr {
        process::gateway_address()
    }

    pub(super) fn path(&self, function: &str) -> String {
        self.space.path(function)
    }

    /// The process of the gateway.
    pub(super) fn gateway(&self) -> u32 {
        self.gateway.as_ref().expect("it runs").id()
    }

    /// The process of the events program.
    pub(super) fn events(&self) -> u32 {
        self.events.as_ref().expect("it runs").id()
    }

    pub(super) fn kill_gateway(&mut self) {
        self.gateway = None;
    }

    pub(super) async fn restart_gateway(&mut self) {
        self.gateway = Some(Process::gateway_with_events(&self.space).await);
    }

    pub(super) fn kill_events(&mut self) {
        self.events = None;
    }

    pub(super) async fn restart_events(&mut self) {
        let store = self.dir.path().join("events.redb");
        self.events = Some(Process::events(&store).await);
    }

    /// Starts with nothing that waits.
    pub(super) async fn forget(&mut self) {
        self.kill_events();
        let store = self.dir.path().join("events.redb");
        std::fs::remove_file(store).expect("the store is there");
        self.restart_events().await;
    }

    /// A warm function that hears the topic of its name, and notes what it is sent.
    pub(super) async fn function(&self, name: &str, path: &str, book: &Book) {
        let spec = json!({
            "scale": {"min": 1, "max": 1, "target": 1000},
            "env": [{"name": "LEDGER", "value": book.address().to_string()}],
            "triggers": [{"name": "topic", "topic": {"name": name}, "path": path}],
            "delivery": {"attempts": 100, "backoff": {"first": "100ms", "max": "1s"}},
        });
        self.space.test_function(name, &["serve"], spec).await;
        self.space.ready(name).await;
        eventually_within(PATIENCE, "the gateway knows its topic", async || {
            self.caller().publish(name, 0..0).await
        })
        .await;
    }

    /// Publishes messages of these numbers, each until it is accepted.
    pub(super) async fn publish(&self, topic: &str, numbers: Range<u64>) {
        let mut caller = self.caller();
        for begin in numbers
            .clone()
            .step_by(usize::try_from(BATCH).expect("it is small"))
        {
            let batch = begin..numbers.end.min(begin + BATCH);
            let published = caller.publish(topic, batch).await;
            published.unwrap_or_else(|why| panic!("a batch is not accepted: {why}"));
        }
    }

    /// Waits until no call is left.
    pub(super) async fn drained(&self) {
        let page = process::events_page();
        eventually_within(PATIENCE, "nothing waits any more", async || {
            let text = page.get("/metrics").await.ok().text();
            if !text.contains("\nfermata_invocations_records ") {
                return Err("it tells nothing of calls".to_owned());
            }
            let mut left = text.lines().filter(|line| {
                let is_backlog = line.starts_with("fermata_invocations_waiting{")
                    || line.starts_with("fermata_invocations_running{");
                is_backlog && !line.ends_with(" 0")
            });
            left.next().map_or(Ok(()), |line| Err(line.to_owned()))
        })
        .await;
    }

    pub(super) fn caller(&self) -> Caller<'_> {
        Caller {
            stand: self,
            kept: Kept::new(self.gateway_address()),
        }
    }
}

// === impl Caller ===

impl Caller<'_> {
    /// Has a call of this number accepted.
    pub(super) async fn defer(&mut self, function: &str, number: u64) -> Result<(), String> {
        self.call(function, Some(number)).await
    }

    /// The same without a number.
    pub(super) async fn defer_unnamed(&mut self, function: &str) -> Result<(), String> {
        self.call(function, None).await
    }

    async fn call(&mut self, function: &str, number: Option<u64>) -> Result<(), String> {
        let mut request = Request::post(self.stand.path(function))
            .header("host", "bench")
            .header("prefer", "respond-async");
        if let Some(number) = number {
            request = request.header("x-count", number);
        }
        self.send(request, Bytes::from(vec![b'x'; 1024])).await
    }

    /// Publishes a batch of messages of these numbers; the same again goes to nobody twice.
    pub(super) async fn publish(&mut self, topic: &str, numbers: Range<u64>) -> Result<(), String> {
        let event = |number: u64| -> Value {
            json!({
                "specversion": "1.0", "id": number.to_string(), "source": "/bench", "type": "bench",
                "count": number.to_string(), "data": "x".repeat(1024),
            })
        };
        let batch: Vec<Value> = numbers.map(event).collect();
        let path = format!("/topics/{topic}.{}", self.stand.space.name);
        let request = Request::post(path)
            .header("host", "bench")
            .header("content-type", "application/cloudevents-batch+json");
        self.send(request, json!(batch).to_string().into()).await
    }

    async fn send(&mut self, request: http::request::Builder, body: Bytes) -> Result<(), String> {
        let request = request.body(Full::new(body)).expect("it is valid");
        let answer = self.kept.send(request, ANSWER).await?;
        match answer.status.as_u16() {
            202 => Ok(()),
            status => Err(format!("{status} {}", answer.text())),
        }
    }
}
