//! The admin listener: `/metrics`, `/livez`, `/readyz`, and what else a program tells or takes there.

mod options;

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use fermata_listen::{Accepted, Attended, Bounds, Listener, Seat, Seats, files, host};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TextEncoder};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use options::{AdminAddress, AdminOptions, NotAnAdminAddress};

/// Connections at once; further ones take the place of those that have been idle longest.
const CONNECTIONS: usize = 256;

/// How long a client may take to ask, and how long an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection has to end after it was asked to.
const GOODBYE: Duration = Duration::from_secs(1);

/// The text format of Prometheus
/// (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An answer on the admin port.
pub type Answer = Response<Full<Bytes>>;

/// What a program tells of itself, besides its metrics.
pub trait Routes: Send + Sync + 'static {
    /// Whether the program is ready to work.
    ///
    /// # Errors
    ///
    /// What is missing, in a few words.
    fn readiness(&self) -> Result<(), &'static str>;

    /// Paths of the program's own, for those who ask for something that is not there.
    fn paths(&self) -> &'static [&'static str] {
        &[]
    }

    /// Answers what is asked under a path of the program's own; `None` is what is not. `peer` is who asks, if
    /// that is known.
    fn answer(&self, request: &Request<Incoming>, peer: Option<IpAddr>) -> Option<Answer> {
        let _ = (request, peer);
        None
    }
}

/// The admin listener of a program.
#[derive(Debug)]
pub struct Admin<R> {
    /// The metrics.
    pub registry: Registry,
    /// Everything else.
    pub routes: R,
    /// Names under which it is asked, beside addresses and `localhost`.
    pub hosts: Vec<String>,
}

// === impl Admin ===

impl<R: Routes> Admin<R> {
    /// Serves until told to stop; connections end with it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves connections open until they have been idle for 30 seconds.
    pub async fn run(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let most = files::share(files::limit(), 16, CONNECTIONS);
        let bounds = Bounds {
            most,
            per_address: most,
        };
        let listener = Listener::new(listener, Seats::new(bounds), "metrics and health");
        let connections = TaskTracker::new();
        while let Some(accepted) = stop.run_until_cancelled(listener.next(|_| false)).await {
            let Accepted { stream, seat, .. } = accepted;
            let (admin, stop) = (self.clone(), stop.clone());
            connections.spawn(async move {
                // Without an address it is nobody's who may ask for more than to be told.
                let peer = stream.peer_addr().map(|peer| peer.ip().to_canonical()).ok();
                admin.serve(stream, peer, seat, stop).await;
            });
        }
        connections.close();
        connections.wait().await;
    }

    async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        peer: Option<IpAddr>,
        seat: Seat,
        stop: CancellationToken,
    ) {
        let service = service_fn(|request: Request<Incoming>| {
            let busy = seat.busy();
            let response = self.answer(peer, &request);
            let response = response.map(|body| Attended::new(body, busy));
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => return,
            () = seat.lost() => {
                connection.as_mut().graceful_shutdown();
                let ended = tokio::time::timeout(GOODBYE, connection).await;
                ended.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "an admin connection broke"
            );
        }
    }

    fn answer(&self, peer: Option<IpAddr>, request: &Request<Incoming>) -> Answer {
        if !host::is_asked(request, &self.hosts) {
            let detail = "this listener answers to addresses, localhost and --admin-hosts only\n";
            return text(StatusCode::MISDIRECTED_REQUEST, detail);
        }
        if let Some(answer) = self.routes.answer(request, peer) {
            return answer;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(header::ALLOW, allowed);
            return answer;
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => match self.routes.readiness() {
                Ok(()) => text(StatusCode::OK, "ok\n"),
                Err(missing) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{missing}\n")),
            },
            "/metrics" => match TextEncoder::new().encode_to_string(&self.registry.gather()) {
                Ok(page) => of_type(METRICS, page),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
            },
            _ => {
                let mut paths = vec!["/metrics", "/livez", "/readyz"];
                paths.extend(self.routes.paths());
                let detail = format!("there are {}\n", paths.join(", "));
                text(StatusCode::NOT_FOUND, &detail)
            }
        }
    }
}

/// An answer in plain text.
#[must_use]
pub fn text(status: StatusCode, text: &str) -> Answer {
    let mut answer = of_type("text/plain; charset=utf-8", text.to_owned());
    *answer.status_mut() = status;
    answer
}

/// An answer in JSON.
#[must_use]
pub fn json(value: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(value) => of_type("application/json", value),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
    }
}

fn of_type(kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
