//! Answers that say why not, in the form of RFC 9457, as the gateway's own.

use bytes::Bytes;
use fermata_crds::{grpc, names::REASON_HEADER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::json;

/// An answer with all of its body.
pub(crate) type Answer = Response<Full<Bytes>>;

/// What a problem's answer needs to know of its request.
#[derive(Clone, Debug)]
pub(crate) struct Requester {
    /// The request's name, which the gateway has given it.
    id: String,
    /// Whether it speaks gRPC.
    grpc: bool,
}

/// Why something is not done.
#[derive(Debug)]
pub(crate) struct Problem {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// One word for machines; part of the API.
    pub(crate) reason: &'static str,
    /// A sentence.
    pub(crate) detail: String,
    /// Seconds after which it may be otherwise.
    pub(crate) retry_after: Option<u64>,
    /// The methods that mean something there.
    pub(crate) allow: Option<&'static str>,
}

// === impl Problem ===

impl Problem {
    /// This problem, which will be the same if it is asked again.
    pub(crate) fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            detail: detail.into(),
            retry_after: None,
            allow: None,
        }
    }

    /// The same, which may be otherwise in so many seconds.
    pub(crate) fn for_seconds(self, seconds: u64) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }

    /// The answer that says so, in the terms of who asks.
    pub(crate) fn answer(&self, requester: &Requester) -> Answer {
        let mut answer = if requester.grpc {
            self.grpc()
        } else {
            json_answer(
                self.status,
                "application/problem+json",
                &json!({
                    "status": self.status.as_u16(),
                    "title": self.status.canonical_reason().unwrap_or("Error"),
                    "detail": self.detail,
                    "reason": self.reason,
                    "requestId": requester.id,
                }),
            )
        };
        let headers = answer.headers_mut();
        headers.insert(
            HeaderName::from_static(REASON_HEADER),
            HeaderValue::from_static(self.reason),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        answer
    }

    /// An answer of trailers only, which is how gRPC tells a failure without a message.
    fn grpc(&self) -> Answer {
        let mut answer = Response::new(Full::default());
        let headers = answer.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(grpc::MEDIA_TYPE),
        );
        let status = HeaderValue::from_static(grpc_status(self.status));
        headers.insert("grpc-status", status);
        let message = grpc::message(&format!("{}: {}", self.reason, self.detail));
        if let Ok(message) = HeaderValue::try_from(message) {
            headers.insert("grpc-message", message);
        }
        answer
    }
}

// === impl Requester ===

impl Requester {
    /// What there is to know of a request.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let kind = headers.get(header::CONTENT_TYPE);
        Self {
            id: text("x-request-id").unwrap_or_default().to_owned(),
            grpc: kind.is_some_and(|kind| grpc::is_media_type(kind.as_bytes())),
        }
    }
}

/// A status in gRPC's terms (<https://github.com/grpc/grpc/blob/master/doc/statuscodes.md>).
const fn grpc_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 | 422 => "3",
        404 => "5",
        409 => "9",
        413 | 429 | 507 => "8",
        405 | 501 => "12",
        _ => "14",
    }
}

/// An answer of JSON.
pub(crate) fn json_answer(
    status: StatusCode,
    kind: &'static str,
    value: &serde_json::Value,
) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(value.to_string())));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
