//! What the gateway asks: to keep a call (`/functions/NAMESPACE/NAME/PATH`, with the call's own method, headers and
//! body) or a message (`/topics/NAMESPACE/NAME`, with its headers, and behind those who hear it its body), what became
//! of one (`/invocations/ID`, `/invocations/ID/result`), and for whom a function belongs to which calls there are
//! (`/owned/NAMESPACE/NAME`). The one that scales asks besides what waits (`/backlogs`), and the one that writes
//! what became of triggers how they stand (`/standings`).
//!
//! Nobody but the gateway is to reach it: whoever does may have any function called, as anybody inside the cluster may.

mod accept;
mod backlogs;
mod body;
mod listener;
mod owner;
mod publish;
mod tell;

use std::sync::{Arc, OnceLock};

use fermata_crds::names::{ENTRANCE_HEADER, FUNCTION_UID_HEADER};
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use crate::{
    allow::AllowedHost,
    invocation::Entrance,
    metrics::Metrics,
    problem::{Answer, Problem, Requester},
    rooms::Rooms,
    store::Store,
};

pub(crate) use listener::serve;

/// What answers the gateway.
#[derive(Debug)]
pub(crate) struct Server {
    store: Store,
    /// The largest body of a call and of a message, in bytes.
    max_body_bytes: usize,
    /// Who may be called back.
    callbacks: Vec<AllowedHost>,
    metrics: Arc<Metrics>,
    /// What functions can take.
    rooms: Arc<Rooms>,
    /// How many calls of a function are made at once at most.
    most: u32,
    /// Room for what is published and not written yet.
    room: Arc<Semaphore>,
}

/// Where the gateway asks: also before the store is open, and then to no avail.
#[derive(Debug, Default)]
pub(crate) struct Door(OnceLock<Server>);

// === impl Door ===

impl Door {
    /// From now on this one answers.
    pub(crate) fn open(&self, server: Server) {
        // It is opened once.
        let _ = self.0.set(server);
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match self.0.get() {
            Some(server) => server.answer(request).await,
            None => standing_by().answer(&Requester::of(request.headers())),
        }
    }
}

// === impl Server ===

impl Server {
    /// Keeps what the gateway brings there.
    pub(crate) fn new(
        store: Store,
        max_body_bytes: usize,
        callbacks: Vec<AllowedHost>,
        metrics: Arc<Metrics>,
        (rooms, most): (Arc<Rooms>, u32),
    ) -> Self {
        let room = (publish::MOST_AT_ONCE / publish::UNIT) as usize;
        Self {
            store,
            max_body_bytes,
            callbacks,
            metrics,
            rooms,
            most,
            room: Arc::new(Semaphore::new(room)),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let requester = Requester::of(request.headers());
        let answered = if let Some(rest) = path.strip_prefix("/functions/") {
            self.accept(rest, request).await
        } else if let Some(rest) = path.strip_prefix("/topics/") {
            self.publish(rest, request).await
        } else if let Some(rest) = path.strip_prefix("/invocations/") {
            self.tell(rest, request.method(), request.headers()).await
        } else if let Some(rest) = path.strip_prefix("/owned/") {
            let (uri, method) = (request.uri(), request.method());
            self.owned(rest, uri, method, request.headers()).await
        } else if path == "/backlogs" {
            self.backlogs(request).await
        } else if path == "/standings" {
            self.standings(request.method())
        } else {
            Err(no_such_invocation())
        };
        answered.unwrap_or_else(|problem| problem.answer(&requester))
    }

    async fn tell(
        &self,
        path: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Answer, Problem> {
        let (id, rest) = path.split_once('/').unwrap_or((path, ""));
        let id = id.parse().map_err(|_| no_such_invocation())?;
        let asker = Asker {
            entrance: entrance(headers)?,
            owner: owner(headers),
        };
        match (method, rest) {
            (&Method::GET | &Method::HEAD, "") => tell::state(&self.store, id, asker).await,
            (&Method::GET | &Method::HEAD, "result") => tell::result(&self.store, id, asker).await,
            (&Method::DELETE, "") => tell::cancel(&self.store, id, asker).await,
            (&Method::POST, "redrive") => tell::redrive(&self.store, id, asker).await,
            (_, "" | "result" | "redrive") => Err(not_allowed(rest)),
            _ => Err(no_such_invocation()),
        }
    }
}

/// Who asks what became of a call.
#[derive(Clone, Copy, Debug)]
struct Asker<'a> {
    /// Where the request came in.
    entrance: Entrance,
    /// The function whose own the host is that was asked, by its uid.
    owner: Option<&'a str>,
}

/// The method means nothing there (RFC 9110, section 15.5.6).
fn not_allowed(what: &str) -> Problem {
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "MethodNotAllowed",
        "GET tells how a call stands, GET .../result what was answered, DELETE calls it off, and POST .../redrive \
         has one that failed tried anew; whoever the function belongs to cancels, redrives and purges by POST",
    );
    let allow = match what {
        "" => "GET, HEAD, DELETE",
        "result" => "GET, HEAD",
        _ => "POST",
    };
    Problem {
        allow: Some(allow),
        ..problem
    }
}

/// The function that the gateway has named, by its uid.
fn owner(headers: &HeaderMap) -> Option<&str> {
    headers.get(FUNCTION_UID_HEADER)?.to_str().ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Where the request came in at the gateway.
fn entrance(headers: &HeaderMap) -> Result<Entrance, Problem> {
    match headers
        .get(ENTRANCE_HEADER)
        .map(|entrance| entrance.as_bytes())
    {
        Some(b"public") => Ok(Entrance::Public),
        Some(b"internal") => Ok(Entrance::Internal),
        _ => Err(not_from_the_gateway(ENTRANCE_HEADER)),
    }
}

/// Another process has the store.
fn standing_by() -> Problem {
    let problem = Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "StandingBy",
        "this process stands by and has no calls; try again, and another one answers",
    );
    problem.for_seconds(1)
}

fn not_from_the_gateway(missing: &str) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "BadRequest",
        format!("there is no valid {missing}; calls are made through the gateway"),
    )
}

fn no_such_invocation() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "NoSuchInvocation",
        "no call of this id is known; what became of a call is known for an hour after it is over",
    )
}
