//! Responses.

use std::convert::Infallible;

use bytes::Bytes;
use futures::Stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use serde_json::Value;

use crate::status::Failure;

/// The body of every response. It cannot fail: what goes wrong in a stream ends it.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A whole JSON document.
pub(crate) fn json(code: u16, body: impl Into<Bytes>) -> Response<Body> {
    typed(code, "application/json", body)
}

/// A value as a JSON document.
pub(crate) fn value(code: u16, value: &Value) -> Response<Body> {
    json(code, value.to_string())
}

/// A whole document of some type.
pub(crate) fn typed(
    code: u16,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    let content_type = HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// A document that goes on.
pub(crate) fn stream(
    content_type: &'static str,
    stream: impl Stream<Item = Bytes> + Send + 'static,
) -> Response<Body> {
    use futures::StreamExt as _;
    let frames = stream.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let content_type = HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// A refusal.
pub(crate) fn failure(failure: &Failure) -> Response<Body> {
    if *failure == Failure::no_such_page() {
        return typed(404, "text/plain; charset=utf-8", failure.message.clone());
    }
    let mut response = value(failure.code, &failure.to_value());
    let wait = failure
        .details
        .as_ref()
        .and_then(|details| details["retryAfterSeconds"].as_u64());
    if let Some(seconds) = wait {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Adds warnings, which clients show to their users (RFC 7234, section 5.5).
pub(crate) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings {
        let text: String = warning
            .chars()
            .map(|c| {
                if c.is_ascii_control() || !c.is_ascii() {
                    '?'
                } else {
                    c
                }
            })
            .collect();
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}
