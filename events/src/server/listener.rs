//! Connections of the gateway.

use std::{convert::Infallible, sync::Arc, time::Duration};

use fermata_listen::{Accepted, Bounds, Listener, Seats, files};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Acceptances, Server};

/// Connections at once; further ones wait.
const CONNECTIONS: usize = 4096;

/// Header fields that a request may have: more than the gateway lets through.
const MOST_FIELDS: usize = 1100;

/// How long a client may take to send the head of a request, and how long an unused connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves until told to stop, and then until the requests that are there are answered.
///
/// # Cancel safety
///
/// Dropping the future leaves connections open until they have been idle for a minute.
pub(crate) async fn serve<A: Acceptances>(
    server: Arc<Server<A>>,
    socket: TcpListener,
    stop: CancellationToken,
) {
    let most = files::share(files::limit(), 4, CONNECTIONS);
    let bounds = Bounds {
        most,
        per_address: most,
    };
    let listener = Listener::new(socket, Seats::new(bounds), "calls");
    let connections = TaskTracker::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.next(|_| false)).await {
        let Accepted { stream, seat, .. } = accepted;
        let (server, stop) = (server.clone(), stop.clone());
        connections.spawn(async move {
            let _ = stream.set_nodelay(true);
            let service = service_fn(|request: Request<Incoming>| {
                let busy = seat.busy();
                let server = &server;
                async move {
                    let answer = server.answer(request).await;
                    drop(busy);
                    Ok::<_, Infallible>(answer)
                }
            });
            let connection = http1::Builder::new()
                .max_headers(MOST_FIELDS)
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
                () = seat.lost() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a connection broke"
                );
            }
        });
    }
    connections.close();
    connections.wait().await;
}
