//! Connections of the gateway.

use std::{convert::Infallible, sync::Arc, time::Duration};

use fermata_listen::{Accepted, Attended, Bounds, Listener, Seats, files};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Door;

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
pub(crate) async fn serve(door: Arc<Door>, socket: TcpListener, stop: CancellationToken) {
    let most = files::share(files::limit(), 4, CONNECTIONS);
    let bounds = Bounds {
        most,
        per_address: most,
    };
    let listener = Listener::new(socket, Seats::new(bounds), "calls");
    let graceful = GracefulShutdown::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.next(|_| false)).await {
        let Accepted { stream, seat, .. } = accepted;
        // Without it answers are only later.
        let _ = stream.set_nodelay(true);
        let (door, seat) = (door.clone(), Arc::new(seat));
        let place = seat.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (door, busy) = (door.clone(), place.busy());
            async move {
                let answer = door.answer(request).await;
                Ok::<_, Infallible>(answer.map(|body| Attended::new(body, busy)))
            }
        });
        let connection = http1::Builder::new()
            .max_headers(MOST_FIELDS)
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            tokio::select! {
                // A broken connection is the gateway's affair.
                _ = watched => {}
                () = seat.lost() => {}
            }
        });
    }
    graceful.shutdown().await;
}
