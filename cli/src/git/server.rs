//! What takes pushes: an HTTP server on the port that the node gives it.

use std::{
    convert::Infallible, ffi::OsString, io, net::SocketAddr, path::PathBuf, process::ExitCode,
    sync::Arc, time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Parser;
use fermata_crds::Function;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
    time,
};
use tokio_util::task::TaskTracker;

use super::{
    caller,
    cgi::{self, Answer},
    repository::{Repository, Root},
    request::{self, Asked, Refusal, Service},
    told,
};
use crate::errors;

/// The most connections at once; the gateway needs few.
const MOST_CONNECTIONS: usize = 64;

/// How long a head may take. Longer than the gateway keeps idle connections.
const IDLE: Duration = Duration::from_secs(900);

/// What the server has to know.
#[derive(Debug, Parser)]
struct Options {
    /// Where all repositories are.
    #[arg(long)]
    root: PathBuf,

    /// The kubeconfig of the cluster to deploy to.
    #[arg(long)]
    kubeconfig: String,

    /// Where the gateway takes requests.
    #[arg(long)]
    gateway: SocketAddr,
}

struct Server {
    root: Root,
    kubeconfig: String,
    gateway: SocketAddr,
    tasks: TaskTracker,
}

type Body = Either<Full<Bytes>, Answer>;

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
    let served = runtime
        .context("cannot start")
        .and_then(|runtime| runtime.block_on(run(options)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::fail(&error),
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let server = Arc::new(Server {
        root: Root::new(options.root),
        kubeconfig: options.kubeconfig,
        gateway: options.gateway,
        tasks: TaskTracker::new(),
    });
    server.root.prepare()?;
    let port: u16 = std::env::var("PORT")
        .ok()
        .and_then(|port| port.parse().ok())
        .context("PORT says no port to listen on")?;
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).await?;
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accept = async {
            // The semaphore is never closed.
            let place = places.clone().acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accept => accepted,
            _ = terminate.recv() => break,
        };
        let Ok((stream, peer)) = accepted else {
            time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let own = Arc::clone(&server);
        let is_own = is_own(peer, &stream).await;
        let service = service_fn(move |request| {
            let server = Arc::clone(&own);
            async move { Ok::<_, Infallible>(server.respond(request, is_own).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .serve_connection(TokioIo::new(stream), service);
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            // A broken connection is the client's affair.
            let _ = watched.await;
            drop(place);
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

async fn belongs_to_user(client: SocketAddr, server: SocketAddr) -> io::Result<bool> {
    tokio::task::spawn_blocking(move || caller::is_own(client, server))
        .await
        .map_err(io::Error::other)?
}

// === impl Server ===

impl Server {
    async fn respond(&self, request: Request<Incoming>, is_own: bool) -> Response<Body> {
        let answered = match self.check(&request, is_own).await {
            Ok(asked) => self.answer(asked, request).await,
            Err(refusal) => Err(refusal),
        };
        answered.unwrap_or_else(|refusal| {
            let mut response = Response::new(Either::Left(Full::from(refusal.sentence + "\n")));
            *response.status_mut() = refusal.status;
            // Git shows text to people.
            let text = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, text);
            response
        })
    }

    /// What is asked, if this user asks it.
    async fn check(&self, request: &Request<Incoming>, is_own: bool) -> Result<Asked, Refusal> {
        let client = request::client(request.headers())?;
        let of_user = belongs_to_user(client, self.gateway)
            .await
            .map_err(|error| failed(&error.into()))?;
        if !is_own || !of_user {
            return Err(request::forbidden(
                "only the user of `fermata up` may push and clone here, and only on its machine",
            ));
        }
        let (parts, ()) = {
            let mut parts = Request::new(());
            *parts.method_mut() = request.method().clone();
            *parts.uri_mut() = request.uri().clone();
            parts.into_parts()
        };
        Asked::of(&parts)
    }

    /// Whether the function is there already.
    async fn has_function(&self, asked: &Asked) -> anyhow::Result<bool> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        let client = Client::try_from(config)?;
        let functions = Api::<Function>::namespaced(client, &asked.namespace);
        let function = functions.get_opt(&asked.name).await;
        let function = function.with_context(|| format!("{} cannot be read", asked.name))?;
        Ok(function.is_some())
    }

    async fn answer(
        &self,
        asked: Asked,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Refusal> {
        let repository = self.root.repository(&asked.namespace, &asked.name);
        if asked.service == Service::Push && asked.begins {
            let is_there = self
                .has_function(&asked)
                .await
                .map_err(|error| failed(&error))?;
            let repository = repository.clone();
            tokio::task::spawn_blocking(move || ready_for_push(&repository, is_there))
                .await
                .map_err(|error| failed(&error.into()))?
                .map_err(|error| failed(&error))?;
        } else if !repository.exists() {
            return Err(request::refused(
                StatusCode::NOT_FOUND,
                format!("nothing was pushed to {} yet", asked.name),
            ));
        }
        let mut told = vec![
            (told::ROOT, self.root.path().to_string_lossy().into_owned()),
            (told::NAMESPACE, asked.namespace.clone()),
            (told::NAME, asked.name.clone()),
            (told::KUBECONFIG, self.kubeconfig.clone()),
        ];
        let mut held = None;
        if asked.service == Service::Push && !asked.begins {
            held = repository.lock().map_err(|error| failed(&error.into()))?;
            if held.is_none() {
                told.push((told::BUSY, "1".to_owned()));
            }
        }
        let answer = cgi::answer(&self.root, &asked, request, told, held, &self.tasks).await;
        answer
            .map(|response| response.map(Either::Right))
            .map_err(|error| failed(&error))
    }
}

/// Makes the repository if there is none. What was pushed to a function that was deleted since is pushed as if it
/// were new.
fn ready_for_push(repository: &Repository, is_there: bool) -> anyhow::Result<()> {
    repository.make()?;
    if !is_there && let Some(_held) = repository.lock()? {
        repository.forget_deployed()?;
    }
    Ok(())
}

fn failed(error: &anyhow::Error) -> Refusal {
    request::refused(StatusCode::INTERNAL_SERVER_ERROR, errors::line(error))
}
