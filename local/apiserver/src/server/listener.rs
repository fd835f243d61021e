//! HTTP over TLS on a loopback port. Whatever a client does or fails to do, others are served.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use fermata_listen::{Accepted, Attended, Bounds, Listener, Seat, Seats, files};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{api::Api, auth::User, router};

/// Connections at once; further ones take the place of those that have been idle longest.
const MAX_CONNECTIONS: usize = 512;

/// Requests at once on one connection. Each watch is one.
const MAX_STREAMS: u32 = 256;

/// The head of a request.
const MAX_HEADERS: usize = 64 * 1024;

/// For a handshake, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two signs of life on an HTTP/2 connection.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// For running requests at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// For a connection that is idle, once it was asked to end.
const GOODBYE: Duration = Duration::from_secs(1);

/// Accepts connections until the API shuts down, then lets running requests end.
pub(crate) async fn serve(api: Arc<Api>, listener: TcpListener, config: ServerConfig) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    // The platform in this process needs most of the files that it may open for requests and functions.
    let most = files::share(files::limit(), 8, MAX_CONNECTIONS);
    let bounds = Bounds {
        most,
        per_address: most,
    };
    let listener = Listener::new(listener, Seats::new(bounds), "the API");
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            // All of them come from this machine.
            accepted = listener.next(|_| false) => accepted,
            Some(_) = connections.join_next() => continue,
            () = api.shutdown.cancelled() => break,
        };
        let (api, acceptor) = (Arc::clone(&api), acceptor.clone());
        connections.spawn(async move { connection(&api, &acceptor, accepted).await });
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("requests were still running at the end of the time to finish them");
        connections.shutdown().await;
    }
}

async fn connection(api: &Arc<Api>, acceptor: &TlsAcceptor, accepted: Accepted) {
    let Accepted { stream, peer, seat } = accepted;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(peer = %peer, error = %error, "cannot set TCP_NODELAY");
    }
    let stream = tokio::select! {
        handshake = tokio::time::timeout(PATIENCE, acceptor.accept(stream)) => match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(peer = %peer, error = %error, "TLS handshake failed");
                return;
            }
            Err(_) => {
                tracing::debug!(peer = %peer, "TLS handshake took too long");
                return;
            }
        },
        () = seat.lost() => return,
    };
    serve_requests(api, stream, peer, &seat).await;
}

async fn serve_requests(
    api: &Arc<Api>,
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    seat: &Seat,
) {
    let known = stream
        .get_ref()
        .1
        .peer_certificates()
        .is_some_and(|chain| !chain.is_empty());
    let user = if known { User::Admin } else { User::Anonymous };
    let service = service_fn(|request| {
        let (api, user) = (Arc::clone(api), user.clone());
        // A watch is a request too, as long as it lasts.
        let busy = seat.busy();
        async move {
            let response = router::handle(&api, request, &user).await;
            Ok::<_, std::convert::Infallible>(response.map(|body| Attended::new(body, busy)))
        }
    });
    let builder = builder();
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = api.shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = seat.lost() => {
            connection.as_mut().graceful_shutdown();
            loop {
                match tokio::time::timeout(GOODBYE, connection.as_mut()).await {
                    Ok(ended) => break ended,
                    // Who asks at the very last moment is answered.
                    Err(_) if seat.is_busy() => {}
                    Err(_) => return,
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %peer, error = %error, "connection failed");
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(PATIENCE)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEADERS).unwrap_or(u32::MAX));
    builder
}
