//! Loads of keep-alive connections: as many calls as are answered, or so many a second.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
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
    /// What is sent, by POST; nothing, by GET.
    pub(crate) body: Bytes,
    /// How many bytes the right answer has.
    pub(crate) answer: usize,
}

/// On how many connections, and by which version of HTTP.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Callers {
    /// HTTP/1.1, one call at a time on each connection.
    Http1 { connections: usize },
    /// HTTP/2, so many calls at a time on each connection.
    Http2 { connections: usize, streams: usize },
}

/// What came of a load.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) failures: usize,
    pub(crate) elapsed: Duration,
    /// Of the calls that succeeded, sorted.
    pub(crate) latencies: Vec<Duration>,
}

/// A connection, or a share of one, that makes one call after the other.
struct Caller {
    call: Call,
    sender: Sender,
    outcome: Outcome,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Calls over and over, for so long.
pub(crate) async fn closed(call: &Call, callers: Callers, time: Duration) -> Outcome {
    let started = Instant::now();
    let mut running = JoinSet::new();
    for mut caller in callers.connect(call).await {
        running.spawn(async move {
            while started.elapsed() < time && caller.call(Instant::now()).await {}
            caller.outcome
        });
    }
    Outcome::of(running, started).await
}

/// Calls at a steady rate. The time of a call that had to wait for the one before counts from when it
/// was due.
pub(crate) async fn steady(call: &Call, rate: u32, time: Duration) -> Outcome {
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for number in 0..STEADY_CONNECTIONS {
        let mut caller = Caller::new(call, Sender::http1(call.address).await);
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

// === impl Callers ===

impl Callers {
    async fn connect(self, call: &Call) -> Vec<Caller> {
        let mut callers = Vec::new();
        match self {
            Self::Http1 { connections } => {
                for _ in 0..connections {
                    callers.push(Caller::new(call, Sender::http1(call.address).await));
                }
            }
            Self::Http2 {
                connections,
                streams,
            } => {
                for _ in 0..connections {
                    let sender = http2(call.address).await;
                    let share = || Caller::new(call, Sender::Http2(sender.clone()));
                    callers.extend(std::iter::repeat_with(share).take(streams));
                }
            }
        }
        callers
    }
}

// === impl Sender ===

impl Sender {
    async fn http1(address: SocketAddr) -> Self {
        let stream = TokioIo::new(connect(address).await);
        let (sender, connection) = http1::handshake(stream).await.expect("a fresh connection");
        tokio::spawn(connection);
        Self::Http1(sender)
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(request).await,
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }
}

async fn http2(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let stream = TokioIo::new(connect(address).await);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
        .await
        .expect("a fresh connection");
    tokio::spawn(connection);
    sender
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address)
        .await
        .expect("the server takes connections");
    stream.set_nodelay(true).expect("the connection is open");
    stream
}

// === impl Caller ===

impl Caller {
    fn new(call: &Call, sender: Sender) -> Self {
        Self {
            call: call.clone(),
            sender,
            outcome: Outcome::default(),
        }
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let Call { path, body, .. } = &self.call;
        let request = match &self.sender {
            Sender::Http1(_) => Request::builder().uri(path).header(header::HOST, "bench"),
            Sender::Http2(_) => Request::builder().uri(format!("http://bench{path}")),
        };
        let method = if body.is_empty() { "GET" } else { "POST" };
        let request = request.method(method).body(Full::new(body.clone()));
        request.expect("the path is valid")
    }

    /// One call; false if the connection is of no more use.
    async fn call(&mut self, begun: Instant) -> bool {
        let request = self.request();
        let whole = async {
            let response = self.sender.send(request).await.ok()?;
            let success = response.status().is_success();
            let mut body = response.into_body();
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                length += frame.ok()?.data_ref().map_or(0, Bytes::len);
            }
            (success && length == self.call.answer).then_some(())
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
