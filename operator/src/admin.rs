//! The admin server: `/metrics`, `/livez` and `/readyz` over HTTP/1.1.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use fermata_listen::host;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::metrics::Metrics;

/// Probes and scrapes need few; more would be a mistake or an attack.
const MOST_CONNECTIONS: usize = 64;

/// How long a client may take for its request's head, and for everything.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Whether the operator is ready; a plain fact that others set.
pub(crate) type Ready = Arc<std::sync::atomic::AtomicBool>;

/// What the server tells, and under which names.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) ready: Ready,
    /// Names beside addresses and `localhost`.
    pub(crate) names: Arc<[String]>,
}

/// Answers until the shutdown.
pub(crate) async fn serve(listener: TcpListener, page: Page, shutdown: &CancellationToken) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accept = async {
            // The semaphore is never closed.
            let place = places.clone().acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let Some((place, accepted)) = shutdown.run_until_cancelled(accept).await else {
            break;
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "the admin server cannot accept a connection"
                );
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let page = page.clone();
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let response = page.answer(&request);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            let work = timeout(CONNECTION_TIMEOUT, connection);
            if let Some(Ok(Err(error))) = shutdown.run_until_cancelled(work).await {
                debug!(
                    error = &error as &dyn std::error::Error,
                    "an admin connection broke"
                );
            }
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
}

/// Binds the address.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, std::io::Error> {
    TcpListener::bind(address).await
}

// === impl Page ===

impl Page {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !host::is_asked(request, &self.names) {
            let detail = "this listener answers to addresses, localhost and --admin-hosts only\n";
            return text(StatusCode::MISDIRECTED_REQUEST, detail);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
            response
                .headers_mut()
                .insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.ready.load(std::sync::atomic::Ordering::Relaxed) => {
                text(StatusCode::OK, "ok\n")
            }
            "/readyz" => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "not everything has been listed yet; see the log\n",
            ),
            "/metrics" => {
                let mut response = text(StatusCode::OK, self.metrics.text());
                response.headers_mut().insert(
                    header::CONTENT_TYPE,
                    header::HeaderValue::from_static(
                        "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    ),
                );
                response
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /metrics, /livez and /readyz\n",
            ),
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
