//! The data listener: accepts connections, finds out what they speak, and serves them.

mod ahead;
mod framing;
mod h1;
mod h2;
mod line;
mod proxy_protocol;
mod refusal_rewriter;
mod sniff;
mod timer;
mod wire;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use fermata_listen::{Accepted, Listener, Seat, Seats};
use futures::{StreamExt, stream::FuturesUnordered};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{cluster::peers::Entrance, proxy::context::ProxyContext, upstream::connect::tune};

use sniff::Protocol;
use wire::Wire;

/// How long a connection that came at the last moment may take to begin its first request.
const LATE_REQUEST: Duration = Duration::from_millis(500);

/// How often an HTTP/2 client is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(30);

/// How long it may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 128;

/// Bytes of responses that wait to be sent, per stream, beside one frame of its function's answer: a
/// client that does not read pins as much of each.
const SEND_BUFFER: usize = 32 * 1024;

/// Bytes that a client may send ahead of a slow function, per stream.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The same for all streams of a connection together.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How connections are served.
#[derive(Clone)]
pub(crate) struct Server {
    context: Arc<ProxyContext>,
    entrance: Entrance,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    clocks: Clocks,
    shutdown: Shutdown,
}

/// How long clients may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// For the head of a request, from its first byte on.
    pub(crate) header: Duration,
    /// Until the first byte of the next one.
    pub(crate) idle: Duration,
}

/// Who is at the far end of a connection.
#[derive(Clone, Copy, Debug)]
struct Far {
    /// Who has opened it.
    peer: SocketAddr,
    /// For whom: somebody else, if that is a proxy that says so.
    client: SocketAddr,
}

/// The stages of the end of serving, in the order they come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shutdown {
    /// Clients are asked to go elsewhere; what they send meanwhile is served. HTTP/2 connections end
    /// after their running requests, HTTP/1 ones after their next answer, which the proxy marks.
    pub(crate) leave: CancellationToken,
    /// No new connections; those that are there end after their running requests.
    pub(crate) stop: CancellationToken,
}

// === impl Server ===

impl Server {
    /// A server with these bounds.
    #[must_use]
    pub(crate) fn new(
        context: Arc<ProxyContext>,
        entrance: Entrance,
        clocks: Clocks,
        shutdown: Shutdown,
    ) -> Self {
        let header_bytes = context.limits.header_bytes;
        let mut http1 = http1::Builder::new();
        // The gateway itself refuses large heads, with a reason; hyper only those it cannot read.
        http1
            .header_read_timeout(clocks.idle)
            .max_buf_size((2 * header_bytes).max(64 * 1024));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(STREAMS)
            .max_send_buf_size(SEND_BUFFER)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(2 * header_bytes).unwrap_or(u32::MAX));
        Self {
            context,
            entrance,
            http1,
            http2,
            clocks,
            shutdown,
        }
    }

    /// Waits until it is told to stop. Cancel safe.
    pub(crate) async fn stopped(&self) {
        self.shutdown.stop.cancelled().await;
    }

    /// Accepts connections until told to stop. Their tasks belong to `connections`; each has one of
    /// the places.
    pub(crate) async fn run(self, socket: TcpListener, connections: TaskTracker, seats: Seats) {
        let listener = Listener::new(socket, seats, "requests");
        // What another gateway passes on was counted there, and a proxy has many clients.
        let context = self.context.clone();
        let counted = move |peer: SocketAddr| {
            let ip = peer.ip().to_canonical();
            !context.peers.has_address(ip) && !context.limits.trusts(ip)
        };
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.shutdown.stop.cancelled() => break,
                accepted = listener.next(&counted) => accepted,
            };
            let Accepted { stream, peer, seat } = accepted;
            self.begin(stream, peer, seat, &connections);
        }
        // Who has connected by now would lose a request with the listener.
        let (socket, seats) = listener.into_parts();
        for (stream, peer) in queued(socket) {
            if let Some(seat) = seats.take_free(None) {
                self.begin(stream, peer, seat, &connections);
            }
        }
    }

    fn begin(&self, stream: TcpStream, peer: SocketAddr, seat: Seat, connections: &TaskTracker) {
        let server = self.clone();
        connections.spawn(async move { server.serve(stream, peer, seat).await });
    }

    async fn serve(self, stream: TcpStream, peer: SocketAddr, seat: Seat) {
        let abort = self.context.abort.clone();
        let served = async {
            if tune(&stream).is_err() {
                return;
            }
            let too_late = async {
                self.shutdown.stop.cancelled().await;
                tokio::time::sleep(LATE_REQUEST).await;
            };
            let begun = tokio::select! {
                begun = self.begin_with(stream, peer, &seat) => begun,
                () = seat.lost() => return,
                () = too_late => return,
            };
            match begun {
                Ok((Protocol::Http1, wire, far)) => self.serve_h1(wire, far, seat).await,
                Ok((Protocol::Http2, wire, far)) => self.serve_h2(wire, far, seat).await,
                // Nobody there, nobody who says anything, or a proxy that does not say for whom.
                Err(error) => tracing::debug!(%peer, %error, "connection ended before a request"),
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

    /// Whose connection it is, and what is spoken over it.
    async fn begin_with(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        seat: &Seat,
    ) -> io::Result<(Protocol, Wire, Far)> {
        let mut client = peer;
        if self.is_proxied(peer) {
            tokio::time::timeout(self.clocks.idle, stream.readable()).await??;
            let header = proxy_protocol::take(&mut stream);
            let named = tokio::time::timeout(self.clocks.header, header).await??;
            if let Some(named) = named {
                client = named;
                seat.count_for(named.ip()).map_err(io::Error::other)?;
            }
        }
        let (protocol, wire) = self.sniff(stream).await?;
        Ok((protocol, wire, Far { peer, client }))
    }

    /// Whether the peer says first whose the connection is. Other gateways do not, wherever they are.
    fn is_proxied(&self, peer: SocketAddr) -> bool {
        let (context, ip) = (&self.context, peer.ip().to_canonical());
        self.entrance == Entrance::Public
            && context.limits.proxy_protocol
            && context.limits.trusts(ip)
            && !context.peers.has_address(ip)
    }

    /// What the client speaks, as soon as it has said enough to tell.
    async fn sniff(&self, mut stream: TcpStream) -> io::Result<(Protocol, Wire)> {
        let looked = tokio::time::timeout(self.clocks.idle, sniff::look(&stream)).await??;
        let mut ahead = Vec::new();
        let protocol = match looked {
            Some(protocol) => protocol,
            None => {
                let taken = sniff::take(&mut stream, &mut ahead);
                tokio::time::timeout(self.clocks.header, taken).await??
            }
        };
        Ok((
            protocol,
            Wire::new(stream, ahead, self.context.limits.patience.write),
        ))
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").finish_non_exhaustive()
    }
}

/// The connections that wait to be accepted; no more can come.
fn queued(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    // Asked directly: the runtime may not have heard of them yet.
    let Ok(listener) = listener.into_std() else {
        return Vec::new();
    };
    // Clients that come between the last look and the end are then not connected yet, and lose no
    // request. Where that fails there are only more of them.
    let _ = rustix::net::listen(&listener, 0);
    let accept = || {
        let (stream, address) = listener.accept()?;
        stream.set_nonblocking(true)?;
        Ok::<_, io::Error>((TcpStream::from_std(stream)?, address))
    };
    std::iter::from_fn(|| accept().ok()).collect()
}

/// Clients come and go; only who looks for it wants to know how.
fn note(ended: hyper::Result<()>, far: Far) {
    if let Err(error) = ended {
        tracing::debug!(client = %far.client, error = &error as &dyn std::error::Error, "connection broke");
    }
}
