//! What takes pushes: an HTTP server on the port that the node gives it.

mod answering;
mod bundles;
mod options;

use std::{
    convert::Infallible, ffi::OsString, net::SocketAddr, process::ExitCode, sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser as _;
use fermata_daemon::log;
use fermata_listen::{Accepted, Bounds, Listener, Seats};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::TcpStream,
    signal::unix::{SignalKind, signal},
};

use self::{answering::Server, options::Options};
use super::{access::belongs_to_user, listen};

/// The most connections at once; the gateway needs few. Further ones take the place of those that rest.
const MOST_CONNECTIONS: usize = 64;

/// How long a head may take. Longer than the gateway keeps idle connections.
const IDLE: Duration = Duration::from_secs(900);

/// Serves until it is told to stop, and then until what was begun has ended.
pub(super) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => error.exit(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let served = log::start(options.log_format)
        .context("cannot begin to log")
        .and_then(|_writer| {
            let runtime = runtime.context("cannot start")?;
            runtime.block_on(run(options))
        });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::fail(&error),
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let server = Arc::new(Server::new(options)?);
    server.settle_all().await;
    let listener = listen(!server.access.is_shared()).await?;
    let bounds = Bounds {
        most: MOST_CONNECTIONS,
        // All of them are the gateway's.
        per_address: MOST_CONNECTIONS,
    };
    let listener = Listener::new(listener, Seats::new(bounds), "pushes");
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.next(|_| false) => accepted,
            _ = terminate.recv() => break,
        };
        let Accepted { stream, peer, seat } = accepted;
        let is_own = !server.access.is_shared() && is_own(peer, &stream).await;
        let (own, seat) = (server.clone(), Arc::new(seat));
        let place = seat.clone();
        let service = service_fn(move |request| {
            let (server, place) = (own.clone(), place.clone());
            async move { Ok::<_, Infallible>(server.respond(request, is_own, &place).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .serve_connection(TokioIo::new(stream), service);
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            tokio::select! {
                // A broken connection is the client's affair.
                _ = watched => {}
                () = seat.lost() => {}
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
    server.tasks.close();
    server.tasks.wait().await;
    Ok(())
}

/// Whether it is the gateway that connects, or something else of the same user.
async fn is_own(peer: SocketAddr, stream: &TcpStream) -> bool {
    match stream.local_addr() {
        Ok(server) => belongs_to_user(peer, server).await.unwrap_or(false),
        Err(_) => false,
    }
}
