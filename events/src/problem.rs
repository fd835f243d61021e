//! Answers that say why not, in the form of RFC 9457, as the gateway's own.

use bytes::Bytes;
use fermata_crds::names::REASON_HEADER;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::json;

/// An answer with all of its body.
pub(crate) type Answer = Response<Full<Bytes>>;

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
        }
    }

    /// The same, which may be otherwise in so many seconds.
    pub(crate) fn for_seconds(self, seconds: u64) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }

    /// The answer that says so.
    pub(crate) fn answer(&self) -> Answer {
        let mut answer = json_answer(
            self.status,
            "application/problem+json",
            &json!({
                "status": self.status.as_u16(),
                "title": self.status.canonical_reason().unwrap_or("Error"),
                "detail": self.detail,
                "reason": self.reason,
            }),
        );
        let headers = answer.headers_mut();
        headers.insert(
            HeaderName::from_static(REASON_HEADER),
            HeaderValue::from_static(self.reason),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
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
