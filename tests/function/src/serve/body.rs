//! Bodies: whole, slow and broken ones.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use serde_json::Value;
use tokio::time::sleep;

pub(super) type Body = BoxBody<Bytes, std::io::Error>;

pub(super) fn response(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

pub(super) fn json(value: &Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

pub(super) fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into())
        .map_err(|never| match never {})
        .boxed()
}

pub(super) fn lines(count: u64, pause: Duration) -> Body {
    let lines = stream::unfold(0, move |line| async move {
        if line == count {
            return None;
        }
        sleep(pause).await;
        Some((
            Ok(Frame::data(Bytes::from(format!("line {line}\n")))),
            line + 1,
        ))
    });
    StreamBody::new(lines).boxed()
}

/// Promises more than it sends.
pub(super) fn crash() -> Body {
    let parts = stream::unfold(0, |part| async move {
        if part == 1 {
            // The first half has time to leave.
            sleep(Duration::from_millis(50)).await;
            std::process::exit(1);
        }
        Some((
            Ok(Frame::data(Bytes::from_static(b"half a body"))),
            part + 1,
        ))
    });
    StreamBody::new(parts).boxed()
}
