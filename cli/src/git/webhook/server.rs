//! The HTTP server that takes deliveries.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use fermata_crds::Function;
use fermata_daemon::watch::{self, Places, Watch};
use fermata_listen::{Accepted, Bounds, Listener, Seat, Seats};
use futures::StreamExt as _;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use kube::Client;
use tokio::{net::TcpListener, time};

use super::{
    delivery::Delivery,
    functions::Functions,
    keys::Keys,
    looks::{Asked, Looks},
    refusal::{self, Refusal},
    signature::Check,
};

/// The most connections at once. Further ones take the place of those that have brought nothing for the longest
/// time.
const MOST_CONNECTIONS: usize = 128;

/// How long a head may take, and a connection may rest. The gateway lets none rest for so long.
const HEAD: Duration = Duration::from_secs(30);

/// The largest body.
const MOST_BODY: u64 = refusal::MOST_MEBIBYTES << 20;

/// How long a body may bring nothing.
const STILL: Duration = Duration::from_secs(10);

/// How long it may take.
const WHOLE: Duration = Duration::from_secs(60);

/// How long a delivery waits for the first list of functions.
const LISTING: Duration = Duration::from_secs(5);

/// How long deliveries may take that are under way when it ends.
const ENDING: Duration = Duration::from_secs(10);

/// In how many seconds a delivery may be tried again.
const RETRY: HeaderValue = HeaderValue::from_static("5");

type Answer = Response<Full<Bytes>>;

/// Takes deliveries.
pub(super) struct Server {
    functions: Arc<Functions>,
    watch: Watch,
    keys: Keys,
    looks: Looks,
}

// === impl Server ===

impl Server {
    /// One that knows of the functions in these places as long as the runtime is there.
    pub(super) fn start(client: Client, places: Places) -> Self {
        let watch = Watch::new(client.clone(), places, &["Function"]);
        let functions = Arc::<Functions>::default();
        let (events, own) = (watch.clone(), functions.clone());
        tokio::spawn(async move {
            let mut told = pin!(events.objects::<Function>(&watch::all()));
            while let Some(event) = told.next().await {
                events.hand(event, |event| own.take(event));
            }
        });
        Self {
            functions,
            watch,
            keys: Keys::new(client.clone()),
            looks: Looks::new(client),
        }
    }

    /// Serves until the future ends, and then until what was begun has ended.
    pub(super) async fn serve<T>(self, listener: TcpListener, end: impl Future<Output = T>) {
        let bounds = Bounds {
            most: MOST_CONNECTIONS,
            // All of them are the gateway's.
            per_address: MOST_CONNECTIONS,
        };
        let listener = Listener::new(listener, Seats::new(bounds), "deliveries of webhooks");
        let server = Arc::new(self);
        let graceful = GracefulShutdown::new();
        let mut end = pin!(end);
        loop {
            let accepted = tokio::select! {
                accepted = listener.next(|_| false) => accepted,
                _ = &mut end => break,
            };
            let Accepted { stream, seat, .. } = accepted;
            let (server, seat) = (server.clone(), Arc::new(seat));
            let place = seat.clone();
            let service = service_fn(move |request| {
                let (server, seat) = (server.clone(), place.clone());
                async move { Ok::<_, Infallible>(server.respond(request, &seat).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), service);
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                tokio::select! {
                    // A broken connection is the client's affair.
                    _ = connection => {}
                    () = seat.lost() => {}
                }
            });
        }
        drop(listener);
        if time::timeout(ENDING, graceful.shutdown()).await.is_err() {
            tracing::warn!("deliveries that were under way are broken off");
        }
        server.looks.clone().finish().await;
    }

    async fn respond(&self, request: Request<Incoming>, seat: &Seat) -> Answer {
        let answered = match Delivery::of(request.method(), request.uri().path(), request.headers())
        {
            Ok(delivery) => self.take(&delivery, request.into_body(), seat).await,
            Err(refusal) => Err(refusal),
        };
        match answered {
            Ok((status, sentence)) => answer(status, sentence),
            Err(refusal) => refused(&refusal),
        }
    }

    async fn take(
        &self,
        delivery: &Delivery,
        body: Incoming,
        seat: &Seat,
    ) -> Result<(StatusCode, &'static str), Refusal> {
        if body.size_hint().lower() > MOST_BODY {
            return Err(Refusal::TooLarge);
        }
        let listed = self.watch.listed().whole();
        let listed = time::timeout(LISTING, listed).await;
        listed.map_err(|_| Refusal::Later)?;
        let function = &delivery.function;
        let secret = self.functions.secret_of(function);
        let key = self.keys.of(&function.namespace, secret).await?;
        // What has no key is read all the same: how it goes does not say what there is.
        let mut check = Check::new(key.as_deref().unwrap_or_default());
        let whole = read(body, &mut check, seat);
        time::timeout(WHOLE, whole)
            .await
            .unwrap_or(Err(Refusal::Slow))?;
        if !check.holds(&delivery.claims) {
            return Err(Refusal::Unsigned);
        }
        // Whoever has the key does not have to fear for the connection.
        let _busy = seat.busy();
        if delivery.is_ping {
            return Ok((StatusCode::OK, "deliveries are taken"));
        }
        match self.looks.ask(function).await {
            Asked::Yes => Ok((StatusCode::ACCEPTED, "the repository is looked at")),
            Asked::Gone => Err(Refusal::Unsigned),
            Asked::No => Err(Refusal::Later),
        }
    }
}

/// Reads a body to its end, and keeps nothing of it.
async fn read(mut body: Incoming, check: &mut Check, seat: &Seat) -> Result<(), Refusal> {
    let mut length = 0;
    loop {
        let frame = time::timeout(STILL, body.frame()).await;
        let Some(frame) = frame.map_err(|_| Refusal::Slow)? else {
            return Ok(());
        };
        let frame = frame.map_err(|_| Refusal::Broken)?;
        // Until the next part comes this is idle, as what brings nothing is: it gives way to others.
        drop(seat.busy());
        if let Some(part) = frame.data_ref() {
            length += u64::try_from(part.len()).unwrap_or(MOST_BODY);
            if length > MOST_BODY {
                return Err(Refusal::TooLarge);
            }
            check.update(part);
        }
    }
}

fn answer(status: StatusCode, sentence: impl std::fmt::Display) -> Answer {
    let mut answer = Response::new(Full::from(format!("{sentence}\n")));
    *answer.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, text);
    answer
}

fn refused(refusal: &Refusal) -> Answer {
    let (status, more) = match refusal {
        Refusal::NotHere => (StatusCode::NOT_FOUND, None),
        Refusal::NoPost => (
            StatusCode::METHOD_NOT_ALLOWED,
            Some((header::ALLOW, HeaderValue::from_static("POST"))),
        ),
        Refusal::Unsigned => (StatusCode::UNAUTHORIZED, None),
        Refusal::Broken => (StatusCode::BAD_REQUEST, None),
        Refusal::Slow => (StatusCode::REQUEST_TIMEOUT, None),
        // The rest of the body is not read.
        Refusal::TooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            Some((header::CONNECTION, HeaderValue::from_static("close"))),
        ),
        Refusal::Later => (
            StatusCode::SERVICE_UNAVAILABLE,
            Some((header::RETRY_AFTER, RETRY)),
        ),
    };
    let mut answer = answer(status, refusal);
    answer.headers_mut().extend(more);
    answer
}
