//! Loads of keep-alive connections: as many calls as are answered, or so many a second.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

/// Connections that share a steady load.
const STEADY_CONNECTIONS: u32 = 20;

/// Where calls go, and what they carry.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) body: Bytes,
}

/// What came of a load.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) failures: usize,
    pub(crate) elapsed: Duration,
    /// Of the calls that succeeded, sorted.
    pub(crate) latencies: Vec<Duration>,
}

/// A connection that makes one call after the other.
struct Caller {
    call: Call,
    sender: SendRequest<Full<Bytes>>,
    outcome: Outcome,
}

/// Calls over and over, on so many connections, for so long.
pub(crate) async fn closed(call: &Call, connections: usize, time: Duration) -> Outcome {
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..connections {
        let mut caller = Caller::connect(call).await;
        callers.spawn(async move {
            while started.elapsed() < time && caller.call(Instant::now()).await {}
            caller.outcome
        });
    }
    Outcome::of(callers, started).await
}

/// Calls at a steady rate. The time of a call that had to wait for the one before counts from when it
/// was due.
pub(crate) async fn steady(call: &Call, rate: u32, time: Duration) -> Outcome {
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for number in 0..STEADY_CONNECTIONS {
        let mut caller = Caller::connect(call).await;
        callers.spawn(async move {
            // Spread over the period, so that they do not all call at once.
            tokio::time::sleep(Duration::from_secs(1) * number / rate).await;
            let mut due = interval(Duration::from_secs(1) * STEADY_CONNECTIONS / rate);
            due.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut free_since = started;
            while started.elapsed() < time {
                let due = due.tick().await.into_std();
                // The timer itself is late by up to a millisecond, which is nobody's fault.
                let begun = if free_since > due {
                    due
                } else {
                    Instant::now()
                };
                if !caller.call(begun).await {
                    break;
                }
                free_since = Instant::now();
            }
            caller.outcome
        });
    }
    Outcome::of(callers, started).await
}

// === impl Caller ===

impl Caller {
    async fn connect(call: &Call) -> Self {
        let stream = TcpStream::connect(call.address)
            .await
            .expect("the server takes connections");
        stream.set_nodelay(true).expect("the connection is open");
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .expect("a fresh connection");
        tokio::spawn(connection);
        Self {
            call: call.clone(),
            sender,
            outcome: Outcome::default(),
        }
    }

    /// One call; false if the connection is of no more use.
    async fn call(&mut self, begun: Instant) -> bool {
        let request = Request::post(&self.call.path)
            .header(header::HOST, "bench")
            .body(Full::new(self.call.body.clone()))
            .expect("the path is valid");
        let whole = async {
            let response = self.sender.send_request(request).await.ok()?;
            let success = response.status().is_success();
            let mut body = response.into_body();
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                length += frame.ok()?.data_ref().map_or(0, Bytes::len);
            }
            (success && length == self.call.body.len()).then_some(())
        };
        if whole.await.is_some() {
            self.outcome.latencies.push(begun.elapsed());
            return true;
        }
        self.outcome.failures += 1;
        !self.sender.is_closed()
    }
}

// === impl Outcome ===

impl Outcome {
    async fn of(mut callers: JoinSet<Self>, started: Instant) -> Self {
        let mut whole = Self::default();
        while let Some(ended) = callers.join_next().await {
            let one = ended.expect("a caller does not panic");
            whole.failures += one.failures;
            whole.latencies.extend(one.latencies);
        }
        whole.elapsed = started.elapsed();
        whole.latencies.sort();
        whole
    }

    /// Calls per second that succeeded.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }
}
