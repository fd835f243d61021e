//! What takes pushes: an HTTP server on the port that the node gives it.

mod answering;
mod bundles;
mod looking;
mod options;

use std::{
    convert::Infallible,
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
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
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use self::{
    answering::{Server, Way},
    options::Options,
};
use super::{access::belongs_to_user, listen, settling, within::Within};

/// The most connections at once of a listener: those that work and wait, of pushes and of fetches. Further ones take the
/// place of those that rest.
const MOST_CONNECTIONS: usize = 128;

/// How long a head may take. Longer than the gateway keeps idle connections.
const IDLE: Duration = Duration::from_secs(900);

/// Whom a listener is for.
#[derive(Clone, Copy)]
enum Listens {
    ToGateway,
    ToHooks,
}

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
    let begun = Instant::now();
    let mut terminate = signal(SignalKind::terminate())?;
    let hooks = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let hooks = hooks.context("cannot listen for hooks")?;
    let within = Within::at(hooks.local_addr()?)?;
    let server = Arc::new(Server::new(options, within)?);
    settling::remove_checkouts(&server.root).await;
    let pushes = listen(!server.access.is_shared()).await?;
    let (ending, ended) = (CancellationToken::new(), CancellationToken::new());
    let hooks = tokio::spawn(serve(
        server.clone(),
        hooks,
        Listens::ToHooks,
        ended.clone().cancelled_owned(),
    ));
    // What is applied again may be a bundle, which is brought here, and fetched from here.
    let (settling, until) = (server.clone(), ending.clone());
    server.tasks.spawn(async move {
        // One that is broken off is done again by the next start.
        until.run_until_cancelled(settling.settle_all(begun)).await
    });
    let gateway = Listens::ToGateway;
    serve(server.clone(), pushes, gateway, terminate.recv()).await;
    ending.cancel();
    server.tasks.close();
    server.tasks.wait().await;
    // Until here the hooks of what was under way have brought bundles.
    ended.cancel();
    Ok(hooks.await?)
}

/// Serves what comes by a listener until the future ends, and then until what was asked there is answered.
async fn serve<T>(
    server: Arc<Server>,
    listener: TcpListener,
    listens: Listens,
    end: impl Future<Output = T>,
) {
    let bounds = Bounds {
        most: MOST_CONNECTIONS,
        // All of them are the gateway's, or hooks'.
        per_address: MOST_CONNECTIONS,
    };
    let purpose = match listens {
        Listens::ToGateway => "pushes",
        Listens::ToHooks => "bundles of hooks",
    };
    let listener = Listener::new(listener, Seats::new(bounds), purpose);
    let graceful = GracefulShutdown::new();
    let mut end = pin!(end);
    loop {
        let accepted = tokio::select! {
            accepted = listener.next(|_| false) => accepted,
            _ = &mut end => break,
        };
        let Accepted { stream, peer, seat } = accepted;
        let way = match listens {
            Listens::ToHooks => Way::Within,
            Listens::ToGateway => {
                let is_own = !server.access.is_shared() && is_own(peer, &stream).await;
                Way::Gateway { is_own }
            }
        };
        let (own, seat) = (server.clone(), Arc::new(seat));
        let place = seat.clone();
        let service = service_fn(move |request| {
            let (server, place) = (own.clone(), place.clone());
            async move { Ok::<_, Infallible>(server.respond(request, way, &place).await) }
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
}

/// Whether it is the gateway that connects, or something else of the same user.
async fn is_own(peer: SocketAddr, stream: &TcpStream) -> bool {
    match stream.local_addr() {
        Ok(server) => belongs_to_user(peer, server).await.unwrap_or(false),
        Err(_) => false,
    }
}
