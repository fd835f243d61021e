//! The HTTP server: HTTP/1.1 and HTTP/2 without TLS on one port.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
    time::sleep,
};

use crate::{command::CommandLine, failure::Failure, log, worker::Worker};

/// Connections at once; gateways need few.
const MOST_CONNECTIONS: usize = 10_000;

/// How long a connection may rest between requests, and a request's head may take. Longer than
/// gateways keep idle connections, so that they and not this side close them, and no request meets
/// a connection that is just going away.
const IDLE: Duration = Duration::from_secs(900);

/// Header fields of a request over HTTP/1.1. Gateways bound their bytes, and this only what is set
/// aside for them.
const MOST_FIELDS: usize = 2000;

/// Bytes of a request's header fields over HTTP/2.
const LARGEST_FIELDS: u32 = 256 * 1024;

const BACKLOG: u32 = 4096;

/// Whatever answers requests.
pub(crate) enum Handler {
    /// A process that stays.
    Worker(Worker),
    /// A process for each request.
    Command(CommandLine),
}

/// A port that is ours but that nobody can connect to yet.
pub(crate) struct Reserved {
    socket: TcpSocket,
}

// === impl Reserved ===

impl Reserved {
    /// Takes the port, without listening.
    pub(crate) fn new(address: SocketAddr) -> io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { socket })
    }

    /// Lets clients connect.
    pub(crate) fn listen(self) -> io::Result<TcpListener> {
        self.socket.listen(BACKLOG)
    }
}

/// Serves until `stop` is over, then lets the requests that are running finish.
pub(crate) async fn serve(
    listener: TcpListener,
    handler: Arc<Handler>,
    stop: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accept = async {
            // The semaphore is never closed.
            let place = places.clone().acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accept => accepted,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                log::line(format_args!("cannot accept a connection: {error}"));
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Answers are written whole; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        let handler = handler.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let handler = handler.clone();
            async move { Ok::<_, Infallible>(handler.answer(request, peer).await) }
        });
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder
                .http1()
                .timer(TokioTimer::new())
                .max_headers(MOST_FIELDS)
                .header_read_timeout(IDLE);
            builder
                .http2()
                .timer(TokioTimer::new())
                .max_header_list_size(LARGEST_FIELDS);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            // A broken connection is the client's affair.
            let _ = watcher.watch(connection).await;
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

// === impl Handler ===

impl Handler {
    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> http::Response<crate::body::Body> {
        let answer = match self {
            Self::Worker(worker) => worker.call(request).await,
            Self::Command(command) => command.call(request, peer).await,
        };
        answer.unwrap_or_else(|failure: Failure| failure.response())
    }
}
