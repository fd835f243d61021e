//! HTTP over TLS on a loopback port. Whatever a client does or fails to do, others are served.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::api::{Api, User};

/// Connections at once.
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

/// After a failed accept, such as for want of file descriptors.
const BACKOFF: Duration = Duration::from_millis(100);

/// Accepts connections until the API shuts down, then lets running requests end.
pub(crate) async fn serve(api: Arc<Api>, listener: TcpListener, config: ServerConfig) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let limit = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer, permit) = tokio::select! {
            accepted = accept(&listener, &limit) => match accepted {
                Some(accepted) => accepted,
                None => continue,
            },
            Some(_) = connections.join_next() => continue,
            () = api.shutdown.cancelled() => break,
        };
        let (api, acceptor) = (Arc::clone(&api), acceptor.clone());
        connections.spawn(async move {
            connection(&api, &acceptor, stream, peer).await;
            drop(permit);
        });
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("requests were still running at the end of the time to finish them");
        connections.shutdown().await;
    }
}

/// The next connection, once there is room for one.
async fn accept(
    listener: &TcpListener,
    limit: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(limit).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, permit)),
        Err(error) => {
            tracing::warn!(error = %error, "cannot accept a connection");
            tokio::time::sleep(BACKOFF).await;
            None
        }
    }
}

async fn connection(api: &Arc<Api>, acceptor: &TlsAcceptor, stream: TcpStream, peer: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(peer = %peer, error = %error, "cannot set TCP_NODELAY");
    }
    let stream = match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(peer = %peer, error = %error, "TLS handshake failed");
            return;
        }
        Err(_) => {
            tracing::debug!(peer = %peer, "TLS handshake took too long");
            return;
        }
    };
    let known = stream
        .get_ref()
        .1
        .peer_certificates()
        .is_some_and(|chain| !chain.is_empty());
    let user = if known { User::Admin } else { User::Anonymous };
    let service = service_fn(|request| {
        let (api, user) = (Arc::clone(api), user.clone());
        async move { Ok::<_, std::convert::Infallible>(api.handle(request, &user).await) }
    });
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
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = api.shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %peer, error = %error, "connection failed");
    }
}
