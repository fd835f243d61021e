//! Handlers that run in a process of their own language, which stays for many calls.

pub(crate) mod calls;
mod process;
mod protocol;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub(crate) use process::{Ended, LAST_WORDS, Launch, Process, StartError};

use self::{
    calls::{Begun, Calls},
    protocol::CallHead,
};
use crate::{body::Body, failure::Failure, log, request::Reader, settings::Settings};

/// Calls at once when the function sets no limit: enough for coroutines that wait, and a bound.
const DEFAULT_CONCURRENCY: usize = 1000;

/// A worker that is ready for calls.
pub(crate) struct Worker {
    calls: Arc<Calls>,
    places: Arc<Semaphore>,
    reader: Reader,
}

// === impl Worker ===

impl Worker {
    /// Starts the process and waits until its handler is loaded. Dropping the future ends the
    /// process.
    pub(crate) async fn start(
        launch: Launch,
        settings: &Settings,
    ) -> Result<(Self, Process), StartError> {
        let (process, calls) = process::start(launch).await?;
        let places = settings
            .concurrency
            .map_or(DEFAULT_CONCURRENCY, std::num::NonZeroUsize::get);
        let worker = Self {
            calls,
            places: Arc::new(Semaphore::new(places)),
            reader: Reader::new(settings.max_body),
        };
        Ok((worker, process))
    }

    /// Cancelled when the process has ended.
    pub(crate) fn gone(&self) -> CancellationToken {
        self.calls.gone()
    }

    /// Has the handler answer. Dropping the future, or the response's body, cancels the call.
    pub(crate) async fn call(&self, request: Request<Incoming>) -> Result<Response<Body>, Failure> {
        let (parts, body) = request.into_parts();
        let gone = self.calls.gone();
        let body = tokio::select! {
            body = self.reader.read(&parts, body) => body?,
            // The rest of the body is of no use to anybody.
            () = gone.cancelled() => return Err(Failure::WorkerGone),
        };
        // The semaphore is never closed.
        let place = self.places.clone().acquire_owned().await.ok();
        let mut headers = parts.headers;
        if !headers.contains_key(header::HOST)
            && let Some(authority) = parts.uri.authority()
            && let Ok(host) = authority.as_str().parse()
        {
            // HTTP/2 has the host elsewhere.
            headers.insert(header::HOST, host);
        }
        let head = CallHead {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &headers,
        };
        let begun = self
            .calls
            .begin(&head, body.bytes, (place, body.room))
            .await
            .inspect_err(|failure| {
                if let Failure::BadAnswer(why) = failure {
                    log::line(format_args!("the handler's answer cannot be sent: {why}"));
                }
            })?;
        let (head, body) = match begun {
            Begun::Whole(head, data) => (head, Body::whole(data)),
            Begun::Stream(head, answer) => (head, Body::Worker(answer)),
        };
        let body = if has_content(head.status) {
            body
        } else {
            Body::whole(Bytes::new())
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = clean(head.headers);
        Ok(response)
    }
}

/// Whether an answer of that status may have a body (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5).
fn has_content(status: StatusCode) -> bool {
    !matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    )
}

/// Drops fields that are about the connection and not the handler's to say
/// (RFC 9110, section 7.6.1), and the length, which is counted.
fn clean(mut headers: HeaderMap) -> HeaderMap {
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::TRAILER,
        header::TE,
        header::CONTENT_LENGTH,
    ] {
        if headers.remove(&name).is_some() && name != header::CONTENT_LENGTH {
            log::line(format_args!(
                "the handler set {name}, which is left out; it is the server's"
            ));
        }
    }
    headers
}
