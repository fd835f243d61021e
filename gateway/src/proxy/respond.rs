//! The one place that turns a failure into a response.

use bytes::Bytes;
use fermata_crds::grpc;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use serde::Serialize;

use crate::{
    failure::Failure,
    options::ErrorDetails,
    proxy::{
        access::Record,
        header_scan::HeaderScan,
        ids::{self, REQUEST_ID},
        response_body::ResponseBody,
        timing::{SERVER_TIMING, Timing},
    },
};

/// The header with the reason of a failure; a response without it is the function's own.
pub(crate) const REASON: HeaderName = HeaderName::from_static("x-fermata-reason");

/// What a failure's response needs to know of its request.
#[derive(Clone, Debug)]
pub(crate) struct Requester {
    /// The request's name.
    pub(crate) id: HeaderValue,
    /// Whether it speaks gRPC.
    pub(crate) grpc: bool,
    /// Whether it wants no body.
    pub(crate) head_only: bool,
    /// How much it is told.
    pub(crate) details: ErrorDetails,
}

/// A body of RFC 9457.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    status: u16,
    title: &'a str,
    detail: &'a str,
    reason: &'a str,
    request_id: &'a str,
}

// === impl Requester ===

impl Requester {
    /// What there is to know of a request.
    #[must_use]
    pub(crate) fn of(
        method: &Method,
        headers: &HeaderMap,
        scan: &HeaderScan,
        id: HeaderValue,
    ) -> Self {
        let content_type = scan.content_type.then(|| headers.get(header::CONTENT_TYPE));
        let content_type = content_type.flatten();
        Self {
            id,
            grpc: content_type.is_some_and(|value| grpc::is_media_type(value.as_bytes())),
            head_only: method == Method::HEAD,
            details: ErrorDetails::Public,
        }
    }

    /// The same, told as much.
    #[must_use]
    pub(crate) fn with_details(self, details: ErrorDetails) -> Self {
        Self { details, ..self }
    }
}

/// Answers in the function's place, and puts that on record.
#[must_use]
pub(crate) fn refuse(
    failure: &Failure,
    requester: &Requester,
    mut record: Record,
) -> Response<ResponseBody> {
    record.failed(failure.status().as_u16(), failure.reason());
    if requester.details == ErrorDetails::Public {
        let (id, detail) = (requester.id.to_str(), failure.detail(ErrorDetails::Full));
        tracing::debug!(
            request_id = id.unwrap_or_default(),
            reason = failure.reason().as_str(),
            %detail,
            "request refused"
        );
    }
    respond(failure, requester, &record.timing)
}

/// The response to a request that its function does not answer.
fn respond(failure: &Failure, requester: &Requester, timing: &Timing) -> Response<ResponseBody> {
    let mut response = if requester.grpc {
        trailers_only(failure, requester.details)
    } else {
        problem(failure, requester)
    };
    let headers = response.headers_mut();
    headers.insert(REASON, HeaderValue::from_static(failure.reason().as_str()));
    headers.insert(REQUEST_ID, requester.id.clone());
    headers.insert(SERVER_TIMING, timing.header());
    if failure.status() == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        headers.insert(header::WWW_AUTHENTICATE, scheme);
    }
    if let Some(seconds) = failure.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(methods) = failure.allow() {
        headers.insert(header::ALLOW, HeaderValue::from_static(methods));
    }
    response
}

fn problem(failure: &Failure, requester: &Requester) -> Response<ResponseBody> {
    let status = failure.status();
    let text = problem_text(failure, &requester.id, requester.details);
    let length = text.len();
    let body = if requester.head_only {
        ResponseBody::empty()
    } else {
        ResponseBody::full(Bytes::from(text))
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/problem+json");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

fn problem_text(failure: &Failure, id: &HeaderValue, details: ErrorDetails) -> Vec<u8> {
    let status = failure.status();
    let problem = Problem {
        status: status.as_u16(),
        title: status.canonical_reason().unwrap_or("Error"),
        detail: &failure.detail(details),
        reason: failure.reason().as_str(),
        request_id: id.to_str().unwrap_or_default(),
    };
    // Strings and a number always serialize.
    serde_json::to_vec(&problem).unwrap_or_default()
}

/// A whole HTTP/1.1 response to what never became a request, as it goes over the wire.
#[must_use]
pub(crate) fn refusal_text(failure: &Failure) -> Vec<u8> {
    let id = ids::identify(&mut HeaderMap::new(), &HeaderScan::default());
    let body = problem_text(failure, &id, ErrorDetails::Public);
    let mut text = format!(
        "HTTP/1.1 {}\r\nconnection: close\r\ncontent-type: application/problem+json\r\n\
         content-length: {}\r\n{REASON}: {}\r\n{REQUEST_ID}: {}\r\n\r\n",
        failure.status(),
        body.len(),
        failure.reason().as_str(),
        id.to_str().unwrap_or_default(),
    )
    .into_bytes();
    text.extend_from_slice(&body);
    text
}

/// A response of trailers only, which is how gRPC tells a failure without a message.
fn trailers_only(failure: &Failure, details: ErrorDetails) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(grpc::MEDIA_TYPE),
    );
    headers.insert(
        "grpc-status",
        HeaderValue::from_static(failure.grpc_status()),
    );
    let message = format!("{}: {}", failure.reason().as_str(), failure.detail(details));
    if let Ok(message) = HeaderValue::try_from(grpc::message(&message)) {
        headers.insert("grpc-message", message);
    }
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::failure::Unreachable;

    fn requester(grpc: bool) -> Requester {
        Requester {
            id: HeaderValue::from_static("id-1"),
            grpc,
            head_only: false,
            details: ErrorDetails::Full,
        }
    }

    #[tokio::test]
    async fn a_problem_says_what_why_and_which_request() {
        let failure = Failure::StartFailed("quota".into());
        let response = respond(&failure, &requester(false), &Timing::begin());
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[REASON], "StartFailed");
        assert_eq!(response.headers()["retry-after"], "10");
        assert_eq!(response.headers()[REQUEST_ID], "id-1");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "status": 503, "title": "Service Unavailable", "detail": "quota",
                "reason": "StartFailed", "requestId": "id-1",
            })
        );
    }

    #[tokio::test]
    async fn strangers_are_told_no_names_and_no_logs() {
        let secret = "pod hello-00001-x: DATABASE_URL=postgres://u:secret@db/x";
        for failure in [
            Failure::StartFailed(secret.into()),
            Failure::FunctionUnreachable {
                pod: secret.into(),
                source: Unreachable::ClosedAtOnce,
            },
        ] {
            for grpc in [false, true] {
                let requester = requester(grpc).with_details(ErrorDetails::Public);
                let response = respond(&failure, &requester, &Timing::begin());
                let headers = format!("{:?}", response.headers());
                let body = response.into_body().collect().await.unwrap().to_bytes();
                let body = String::from_utf8(body.to_vec()).unwrap();
                assert!(!body.contains("hello-00001"), "{body}");
                assert!(!headers.contains("hello-00001"), "{headers}");
                assert!(grpc || body.contains("id-1"), "{body}");
            }
        }
    }

    #[tokio::test]
    async fn grpc_gets_its_own_status_in_a_good_response() {
        let failure = Failure::StartFailed("50 % größer\n".into());
        let response = respond(&failure, &requester(true), &Timing::begin());
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "14");
        assert_eq!(
            response.headers()["grpc-message"],
            "StartFailed: 50 %25 gr%C3%B6%C3%9Fer%0A"
        );
    }
}
