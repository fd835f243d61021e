//! The data listener: accepts connections, finds out what they speak, and serves them.

mod refusal;
mod timer;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use http::Request;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::proxy::{
    headers::{Client, Entrance},
    service::{self, Gate},
    upstream::connect::tune,
};

use refusal::Explaining;
use timer::KeepingTimer;

/// The pause after a connection could not be accepted, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Between two looks at a connection that has sent less than it takes to tell what it speaks.
const SNIFF_PAUSE: Duration = Duration::from_millis(5);

/// How long a connection that came at the last moment may take to begin its first request.
const LATE_REQUEST: Duration = Duration::from_millis(500);

/// What HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How often an HTTP/2 client is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(30);

/// How long it may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 250;

/// Bytes that a client may send ahead of a slow function, per stream.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The same for all streams of a connection together.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How connections are served.
#[derive(Clone)]
pub struct Server {
    gate: Arc<Gate>,
    entrance: Entrance,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    header_timeout: Duration,
    ends: Ends,
}

/// The ends of serving, in the order they come.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// Clients are asked to go elsewhere; what they send meanwhile is served. HTTP/2 connections end
    /// after their running requests, HTTP/1 ones after their next answer, which the gate marks.
    pub leave: CancellationToken,
    /// No new connections; those that are there end after their running requests.
    pub stop: CancellationToken,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Protocol {
    Http1,
    Http2,
}

// === impl Server ===

impl Server {
    /// A server with these bounds.
    #[must_use]
    pub fn new(gate: Arc<Gate>, entrance: Entrance, header_timeout: Duration, ends: Ends) -> Self {
        let header_bytes = gate.limits.header_bytes;
        let mut http1 = http1::Builder::new();
        // The gateway itself refuses large heads, with a reason; hyper only those it cannot read.
        http1
            .header_read_timeout(header_timeout)
            .max_buf_size((2 * header_bytes).max(64 * 1024));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(2 * header_bytes).unwrap_or(u32::MAX));
        Self {
            gate,
            entrance,
            http1,
            http2,
            header_timeout,
            ends,
        }
    }

    /// Waits until it is told to stop. Cancel safe.
    pub async fn stopped(&self) {
        self.ends.stop.cancelled().await;
    }

    /// Accepts connections until told to stop. Their tasks belong to `connections`; at most
    /// `limit` of them run at once.
    pub async fn run(self, listener: TcpListener, connections: TaskTracker, limit: usize) {
        let places = Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS)));
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.ends.stop.cancelled() => break,
                accepted = accept(&listener, &places) => accepted,
            };
            match accepted {
                Ok((stream, address, place)) => self.begin(stream, address, place, &connections),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Who has connected by now would lose a request with the listener.
        for (stream, address) in queued(listener) {
            if let Ok(place) = places.clone().try_acquire_owned() {
                self.begin(stream, address, place, &connections);
            }
        }
    }

    fn begin(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
        connections: &TaskTracker,
    ) {
        let server = self.clone();
        connections.spawn(async move {
            server.serve(stream, address).await;
            drop(place);
        });
    }

    async fn serve(self, stream: TcpStream, address: SocketAddr) {
        let abort = self.gate.abort.clone();
        let served = async {
            if tune(&stream).is_err() {
                return;
            }
            let too_late = async {
                self.ends.stop.cancelled().await;
                tokio::time::sleep(LATE_REQUEST).await;
            };
            let protocol = tokio::select! {
                protocol = tokio::time::timeout(self.header_timeout, sniff(&stream)) => protocol,
                () = too_late => return,
            };
            match protocol {
                Ok(Ok(Protocol::Http1)) => self.serve_h1(stream, address).await,
                Ok(Ok(Protocol::Http2)) => self.serve_h2(stream, address).await,
                // Nobody there, or nobody who says anything.
                Ok(Err(_)) | Err(_) => {}
            }
        };
        // The connection is polled several times for each request. A token's own future takes two locks
        // each time; this collection polls it only when it has something to say.
        let mut abort = FuturesUnordered::from_iter([abort.cancelled()]);
        tokio::select! {
            biased;
            () = served => {}
            _ = abort.next() => {}
        }
    }

    async fn serve_h1(&self, stream: TcpStream, address: SocketAddr) {
        let (gate, client) = (
            self.gate.clone(),
            Arc::new(Client::new(address, self.entrance)),
        );
        let limit = gate.limits.header_bytes;
        let (stream, taken) = Explaining::new(TokioIo::new(stream), limit);
        let service = service_fn(move |request: Request<Incoming>| {
            taken.store(true, Ordering::Relaxed);
            let (gate, client) = (gate.clone(), client.clone());
            async move { Ok::<_, Infallible>(service::serve(&gate, &client, request).await) }
        });
        let mut http1 = self.http1.clone();
        let connection = http1
            .timer(KeepingTimer::default())
            .serve_connection(stream, service);
        let mut connection = std::pin::pin!(connection.with_upgrades());
        let mut stop = FuturesUnordered::from_iter([self.ends.stop.cancelled()]);
        let ended = tokio::select! {
            biased;
            // First, so that a request that is there already is seen before the end.
            ended = connection.as_mut() => ended,
            _ = stop.next() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        note(ended, address);
    }

    async fn serve_h2(&self, stream: TcpStream, address: SocketAddr) {
        let (gate, client) = (
            self.gate.clone(),
            Arc::new(Client::new(address, self.entrance)),
        );
        // Who connects only now may make one request before being sent away.
        let late = self.ends.leave.is_cancelled();
        let late = late.then(|| Arc::new(Notify::new()));
        let asked = late.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            if let Some(asked) = &asked {
                asked.notify_one();
            }
            let (gate, client) = (gate.clone(), client.clone());
            async move { Ok::<_, Infallible>(service::serve(&gate, &client, request).await) }
        });
        let connection = self.http2.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let leave = async {
            self.ends.leave.cancelled().await;
            if let Some(asked) = &late {
                tokio::select! {
                    () = asked.notified() => {}
                    () = self.ends.stop.cancelled() => {}
                }
            }
        };
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = leave => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        note(ended, address);
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").finish_non_exhaustive()
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    // The semaphore is never closed.
    let place = places
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, place))
}

/// The connections that wait to be accepted; no more can come.
fn queued(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    // Asked directly: the runtime may not have heard of them yet.
    let Ok(listener) = listener.into_std() else {
        return Vec::new();
    };
    let accept = || {
        let (stream, address) = listener.accept()?;
        stream.set_nonblocking(true)?;
        Ok::<_, io::Error>((TcpStream::from_std(stream)?, address))
    };
    std::iter::from_fn(|| accept().ok()).collect()
}

/// Looks at the first bytes without taking them.
async fn sniff(stream: &TcpStream) -> io::Result<Protocol> {
    let mut first = [0; PREFACE.len()];
    loop {
        let seen = stream.peek(&mut first).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[..seen] != PREFACE[..seen] {
            return Ok(Protocol::Http1);
        }
        if seen == PREFACE.len() {
            return Ok(Protocol::Http2);
        }
        tokio::time::sleep(SNIFF_PAUSE).await;
    }
}

/// Clients come and go; only who looks for it wants to know how.
fn note(ended: hyper::Result<()>, address: SocketAddr) {
    if let Err(error) = ended {
        tracing::debug!(client = %address, error = &error as &dyn std::error::Error, "connection broke");
    }
}
