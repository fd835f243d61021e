//! The server: what it does is in the path.
//!
//! | path | answer |
//! |---|---|
//! | `/status/CODE` | that status |
//! | `/sleep/MS` | after so many milliseconds |
//! | `/stream/N/MS` | N lines, so many milliseconds apart |
//! | `/bytes/N` | N bytes |
//! | `/crash` | half a body, then the process ends |
//! | `/request` | the request as JSON: method, uri, version, headers, body |
//! | `/most` | how many requests it ever worked on at once |
//! | `/listening` | when the process began to listen: Unix time in milliseconds, with a fraction |
//! | `/env/NAME` | a variable |
//! | `/file?PATH` | a file, below `FERMATA_ROOT` where there is one |
//! | `/whoami` | as JSON: uid, gid, groups, rootWritable, noNewPrivs, seccomp |
//! | `/pid` | the process id |
//! | `/ws` | a WebSocket that echoes; without an upgrade, 426 |
//! | `/grpc.health.v1.Health/Check` | gRPC: SERVING |
//! | any other | the request's body |
//!
//! A request with a header `x-count`, or `ce-count`, is noted in the ledger that `LEDGER` names, as HOST:PORT: a line with
//! that header's value, how many requests the instance works on, and the function's name.

mod at_once;
mod body;
mod facts;
mod grpc;
mod ledger;
mod websocket;

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use tokio::{sync::watch, time::sleep};

use self::{
    at_once::AtOnce,
    body::{Body, full},
    ledger::Ledger,
};
use crate::listen::Listening;

/// What the answers depend on, besides the request.
#[derive(Clone)]
struct Server {
    since: Duration,
    at_once: Arc<AtOnce>,
    ledger: Arc<Ledger>,
    /// Changes when the server is to end.
    ending: watch::Receiver<()>,
}

/// Serves HTTP/1.1 and HTTP/2 until the future ends, then finishes what is running. WebSockets are
/// closed then.
pub(crate) async fn serve(listening: Listening, until: impl Future<Output = ()>) {
    let (end, ending) = watch::channel(());
    let server = Server {
        since: listening.since,
        at_once: Arc::default(),
        ledger: Arc::new(Ledger::from_environment()),
        ending,
    };
    let graceful = GracefulShutdown::new();
    let mut until = std::pin::pin!(until);
    loop {
        let accepted = tokio::select! {
            accepted = listening.listener.accept() => accepted,
            () = &mut until => break,
        };
        let Ok((stream, _)) = accepted else { continue };
        let _ = stream.set_nodelay(true);
        let builder = Builder::new(TokioExecutor::new());
        let server = server.clone();
        let connection = builder
            .serve_connection_with_upgrades(
                TokioIo::new(stream),
                service_fn(move |request| answer(server.clone(), request)),
            )
            .into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _ = connection.await;
        });
    }
    drop(server);
    end.send_replace(());
    graceful.shutdown().await;
    // Whoever still talks has a receiver.
    end.closed().await;
}

async fn answer(server: Server, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let work = server.at_once.begin();
    if !server.ledger.note(request.headers(), work.at_once()).await {
        let why = full("the ledger cannot be reached\n");
        return Ok(body::response(StatusCode::INTERNAL_SERVER_ERROR, why));
    }
    let path = request.uri().path().to_owned();
    let mut parts = path.trim_start_matches('/').split('/');
    let word = parts.next().unwrap_or_default();
    let mut number = || {
        parts
            .next()
            .and_then(|part| part.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let response = match word {
        "status" => {
            let code = u16::try_from(number())
                .ok()
                .and_then(|code| StatusCode::from_u16(code).ok())
                .unwrap_or(StatusCode::BAD_REQUEST);
            body::response(code, full("as asked\n"))
        }
        "sleep" => {
            sleep(Duration::from_millis(number())).await;
            Response::new(full("slept\n"))
        }
        "stream" => {
            let (count, pause) = (number(), number());
            Response::new(body::lines(count, Duration::from_millis(pause)))
        }
        "bytes" => {
            let size = usize::try_from(number()).unwrap_or(0);
            Response::new(full(vec![b'x'; size]))
        }
        "crash" => Response::new(body::crash()),
        "request" => facts::request(request).await,
        "most" => Response::new(full(server.at_once.most().to_string())),
        "listening" => facts::listening(server.since),
        "env" => facts::variable(path.rsplit('/').next().unwrap_or_default()),
        "file" => facts::file(request.uri().query().unwrap_or_default()),
        "whoami" => facts::whoami(),
        "pid" => Response::new(full(std::process::id().to_string())),
        "ws" => websocket::echo(request, server.ending),
        "grpc.health.v1.Health" => grpc::serving(),
        _ => Response::new(request.into_body().map_err(std::io::Error::other).boxed()),
    };
    Ok(response)
}
