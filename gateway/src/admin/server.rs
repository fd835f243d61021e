//! `/metrics`, `/livez`, `/readyz` and `/stats`.

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fermata_daemon::watch::Key;
use fermata_listen::{Accepted, Attended, Bounds, Listener, Seat, Seats, files, host};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::metrics::Page,
    cluster::{
        ownership::{HANDOVER_PATH, Ownership},
        watch::Health,
    },
    scale::stats::Counter,
};

/// Connections at once; further ones take the place of those that have been idle longest.
const CONNECTIONS: usize = 256;

/// How long a client may take to ask, and how long an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection has to end after it was asked to.
const GOODBYE: Duration = Duration::from_secs(1);

/// The media type of the metrics page.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the admin listener can tell.
#[derive(Debug)]
pub struct Admin {
    /// The metrics.
    pub page: Page,
    /// Whether the watches are up.
    pub health: Arc<Health>,
    /// The statistics for the leader.
    pub counter: Counter,
    /// Hands functions with a hard limit over to other gateways.
    pub ownership: Arc<Ownership>,
    /// Set when the gateway stops: it is no longer ready.
    pub stopping: AtomicBool,
    /// Names under which it is asked, beside addresses and `localhost`.
    pub names: Vec<String>,
}

// === impl Admin ===

impl Admin {
    /// Serves until told to stop. The tasks of its connections belong to `connections`.
    pub async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        connections: TaskTracker,
        stop: CancellationToken,
    ) {
        let most = files::share(files::limit(), 16, CONNECTIONS);
        let bounds = Bounds {
            most,
            per_address: most,
        };
        let listener = Listener::new(listener, Seats::new(bounds), "metrics and health");
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = listener.next(|_| false) => accepted,
            };
            let Accepted { stream, seat, .. } = accepted;
            let (admin, stop) = (self.clone(), stop.clone());
            connections.spawn(async move {
                // Without an address it is nobody's who may ask for more than to be told.
                let peer = stream.peer_addr().map(|peer| peer.ip().to_canonical()).ok();
                admin.serve(stream, peer, seat, stop).await;
            });
        }
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
            tracing::debug!(%error, "admin connection broke");
        }
    }

    fn answer(&self, peer: Option<IpAddr>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !host::is_asked(request, &self.names) {
            let detail = "this listener answers to addresses, localhost and --admin-hosts only\n";
            return text(StatusCode::MISDIRECTED_REQUEST, detail);
        }
        if request.uri().path() == HANDOVER_PATH {
            return self.hand_over(peer, request);
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => self.readiness(),
            "/metrics" => match self.page.text() {
                Ok(page) => of_type(OPENMETRICS, page),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
            },
            "/stats" => match serde_json::to_vec(&self.counter.report()) {
                Ok(report) => of_type("application/json", report),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
            },
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /metrics, /livez, /readyz and /stats\n",
            ),
        }
    }

    /// Hands a Revision over to the gateway that asks for it.
    fn hand_over(
        &self,
        peer: Option<IpAddr>,
        request: &Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let key = request.uri().query().and_then(|key| key.split_once('/'));
        let (Some((namespace, name)), &Method::POST) = (key, request.method()) else {
            return text(
                StatusCode::BAD_REQUEST,
                "gateways POST /handover?NAMESPACE/REVISION here\n",
            );
        };
        let key = Key::new(namespace, name);
        match peer.and_then(|peer| self.ownership.hand_over(peer, &key)) {
            Some(handover) => match serde_json::to_vec(&handover) {
                Ok(handover) => of_type("application/json", handover),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
            },
            None => text(
                StatusCode::FORBIDDEN,
                "only other gateways may ask for this\n",
            ),
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        if self.stopping.load(Ordering::Relaxed) {
            text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
        } else if self.health.is_synced() {
            text(StatusCode::OK, "ok\n")
        } else {
            let detail = "functions, revisions, deployments and pods are not all listed yet\n";
            text(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = of_type("text/plain; charset=utf-8", text.to_owned());
    *response.status_mut() = status;
    response
}

fn of_type(kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
