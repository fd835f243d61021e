//! A run that the events program keeps as an asynchronous call: it is made until the function has answered, with the attempts
//! of `spec.delivery`, whatever becomes of this gateway. The gateway that leads asks what came of it; another one that takes its
//! place has the same run kept once more, which is the same call, and goes on asking.

use std::time::Duration;

use bytes::Bytes;
use fermata_crds::{
    RunResult,
    names::{DELIVERY_HEADER, ENTRANCE_HEADER, FUNCTION_UID_HEADER, TRIGGER_HEADER},
};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::call::{Called, Event};
use crate::cluster::events::{EventsQuery, EventsUnheard};

/// The pauses between two questions what came of a run: the first one, and the longest.
const ASK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The pauses between two attempts to have a run kept.
const KEEP: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How often it is tried to call a run off: for about two minutes.
const BREAK_OFF: usize = 8;

/// One run, and who keeps it.
pub(super) struct KeptRun<'a> {
    pub(super) events: &'a EventsQuery,
    pub(super) call: Event<'a>,
    /// The Function's `spec.delivery`, as JSON.
    pub(super) delivery: &'a str,
    /// Until when it is tried to have it kept.
    pub(super) until: Timestamp,
}

/// What came of having a run kept.
enum Kept {
    /// It is, under this name.
    As(String),
    /// It is not, and will not be.
    Never(Called),
    /// It is not yet.
    Later(String),
}

/// How a call stands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Standing {
    state: String,
    code: Option<u16>,
    message: Option<String>,
}

/// What is told of a call that is kept.
#[derive(Deserialize)]
struct Named {
    id: String,
}

/// A problem (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

// === impl KeptRun ===

impl KeptRun<'_> {
    /// Has the run kept, and waits until it is over.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the run is kept or not, and goes on if it is.
    pub(super) async fn run(&self, broken_off: &CancellationToken) -> Called {
        let mut pauses = Pauses::new(KEEP);
        let id = loop {
            let why = match self.keep().await {
                Kept::As(id) => break id,
                Kept::Never(called) => return called,
                Kept::Later(why) => why,
            };
            if broken_off.is_cancelled() {
                // It may be kept all the same.
                self.break_off().await;
                return Called::replaced();
            }
            if Timestamp::now() >= self.until {
                return Called::failed(
                    None,
                    format!("it could not be kept until its deadline: {why}"),
                );
            }
            pauses.pause(broken_off).await;
        };
        let mut pauses = Pauses::new(ASK);
        loop {
            if broken_off.is_cancelled() {
                self.cancel(&id).await;
                return Called::replaced();
            }
            pauses.pause(broken_off).await;
            match self.standing(&id).await {
                Ok(Some(standing)) => {
                    if let Some(called) = standing.called() {
                        return called;
                    }
                }
                Ok(None) => return Called::lost("what became of it is not known any more"),
                // It goes on, whoever can be asked.
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(error, "it is not known how a run of a trigger stands");
                }
            }
        }
    }

    /// Calls a run off that another gateway has perhaps kept. It is tried some times.
    pub(super) async fn break_off(&self) {
        let (mut pauses, never) = (Pauses::new(KEEP), CancellationToken::new());
        for _ in 0..BREAK_OFF {
            match self.keep().await {
                Kept::As(id) => return self.cancel(&id).await,
                Kept::Never(_) => return,
                Kept::Later(_) => pauses.pause(&never).await,
            }
        }
        tracing::warn!(function = %self.call.function, "a run of a trigger cannot be called off");
    }

    /// Has it kept. The same run is kept once.
    async fn keep(&self) -> Kept {
        let answered = match self.question() {
            Ok(question) => self.events.exchange(question).await,
            Err(error) => {
                return Kept::Never(Called::failed(
                    None,
                    format!("it cannot be called: {error}"),
                ));
            }
        };
        let (status, body) = match answered {
            Ok(answered) => answered,
            Err(error) => return Kept::Later(error.to_string()),
        };
        if status.is_success() {
            return match serde_json::from_slice::<Named>(&body) {
                Ok(named) => Kept::As(named.id),
                Err(error) => Kept::Later(format!("the events program is not understood: {error}")),
            };
        }
        let problem = serde_json::from_slice::<Problem>(&body);
        let why = problem.map_or_else(|_| status.to_string(), |problem| problem.detail);
        let may_pass = status.is_server_error() || status == StatusCode::CONFLICT;
        if may_pass {
            Kept::Later(why)
        } else {
            Kept::Never(Called::failed(None, format!("it cannot be kept: {why}")))
        }
    }

    fn question(&self) -> http::Result<Request<Full<Bytes>>> {
        let call = &self.call;
        let mut request = call.request()?;
        let (namespace, name) = (&call.function.namespace, &call.function.name);
        let path = format!("/functions/{namespace}/{name}{}", call.trigger.path());
        *request.uri_mut() = self.events.url(&path).parse()?;
        for (name, value) in [
            (FUNCTION_UID_HEADER, call.uid),
            (DELIVERY_HEADER, self.delivery),
            (ENTRANCE_HEADER, "internal"),
            (TRIGGER_HEADER, &call.trigger.name),
            ("idempotency-key", &call.id()),
        ] {
            request
                .headers_mut()
                .insert(name, HeaderValue::try_from(value)?);
        }
        Ok(request)
    }

    async fn standing(&self, id: &str) -> Result<Option<Standing>, EventsUnheard> {
        let (status, body) = self.ask(Method::GET, id).await?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(serde_json::from_slice(&body)?)),
            status => Err(EventsUnheard::Status(status)),
        }
    }

    /// Calls it off. If that cannot be done it goes on beside the newer one.
    async fn cancel(&self, id: &str) {
        if let Err(error) = self.ask(Method::DELETE, id).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, function = %self.call.function, "a run of a trigger cannot be called off");
        }
    }

    async fn ask(&self, method: Method, id: &str) -> Result<(StatusCode, Bytes), EventsUnheard> {
        let request = Request::builder()
            .method(method)
            .uri(self.events.url(&format!("/invocations/{id}")))
            .header(ENTRANCE_HEADER, "internal")
            .body(Full::default())?;
        self.events.exchange(request).await
    }
}

// === impl Standing ===

impl Standing {
    /// What came of it, if it is over.
    fn called(self) -> Option<Called> {
        let Self {
            state,
            code,
            message,
        } = self;
        match &*state {
            "Succeeded" => Some(Called {
                result: RunResult::Succeeded,
                code,
                message: None,
            }),
            "Failed" => Some(Called::failed(code, message.unwrap_or_default())),
            "Cancelled" => Some(Called::failed(code, "it was called off".to_owned())),
            _ => None,
        }
    }
}

/// Pauses that double up to the longest one.
struct Pauses {
    next: Duration,
    longest: Duration,
}

// === impl Pauses ===

impl Pauses {
    fn new((first, longest): (Duration, Duration)) -> Self {
        Self {
            next: first,
            longest,
        }
    }

    /// Waits for the next one, or until there is nothing to wait for.
    async fn pause(&mut self, over: &CancellationToken) {
        let _ = tokio::time::timeout(self.next, over.cancelled()).await;
        self.next = (self.next * 2).min(self.longest);
    }
}
