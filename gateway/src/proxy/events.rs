//! The way to the program that keeps calls whose callers do not wait.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, uri::Authority};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use crate::upstream::request_body::{RequestBody, RequestBodyError};

/// How long it may take to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Header fields that an answer may have: those of a function's, and more.
const MOST_ANSWER_FIELDS: usize = 200;

/// How long it may take until a call is kept, its body included.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Why a call could not be handed over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventsError {
    /// There is no connection, or it broke.
    #[error("the events program cannot be reached")]
    Unreachable(#[source] legacy::Error),
    /// It takes too long.
    #[error("the events program has not answered within {} s", PATIENCE.as_secs())]
    TimedOut,
}

/// The way there.
#[derive(Clone, Debug)]
pub(crate) struct EventsClient {
    client: legacy::Client<HttpConnector, EventsBody>,
    /// Where it is.
    pub(crate) authority: Authority,
}

/// The body of a request, behind what the gateway says of it.
#[derive(Debug)]
pub(crate) struct EventsBody {
    before: Option<Bytes>,
    rest: RequestBody,
}

// === impl EventsClient ===

impl EventsClient {
    /// The way to the program at this address.
    pub(crate) fn new(authority: Authority) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        connector.set_keepalive(Some(IDLE_TIMEOUT));
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .http1_max_headers(MOST_ANSWER_FIELDS)
            .build(connector);
        Self { client, authority }
    }

    /// Asks, and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, or does not answer in time.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the call is kept or not.
    pub(crate) async fn ask(
        &self,
        request: Request<EventsBody>,
    ) -> Result<Response<Incoming>, EventsError> {
        match tokio::time::timeout(PATIENCE, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(EventsError::Unreachable(error)),
            Err(_) => Err(EventsError::TimedOut),
        }
    }
}

// === impl EventsBody ===

impl EventsBody {
    #[must_use]
    pub(crate) fn new(before: Option<Bytes>, rest: RequestBody) -> Self {
        let before = before.filter(|before| !before.is_empty());
        Self { before, rest }
    }
}

impl Body for EventsBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        match self.before.take() {
            Some(before) => Poll::Ready(Some(Ok(Frame::data(before)))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.before.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (SizeHint::new(), self.rest.size_hint());
        let before = self.before.as_ref().map_or(0, Bytes::len) as u64;
        hint.set_lower(rest.lower().saturating_add(before));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(before));
        }
        hint
    }
}
