//! Functions of the tests: HTTP handlers.

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;

use super::Behaviour;

/// The body of a test function's response.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A body that is known as a whole.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Answers each request with what the handler makes of it; the second argument is the pod's name.
pub(crate) fn respond_with<F, R>(handler: F) -> Behaviour
where
    F: Fn(Request<Incoming>, String) -> R + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    Behaviour::http(move |request, pod| -> BoxFuture<'static, _> { handler(request, pod).boxed() })
}

/// Says what it was asked: method, target and body in the body, headers of the request in headers
/// of the response that begin with `got-`.
pub(crate) fn echo() -> Behaviour {
    respond_with(|request, pod| async move {
        let (parts, body) = request.into_parts();
        let mut response = Response::builder().header("pod", pod);
        for (name, value) in &parts.headers {
            response = response.header(format!("got-{name}"), value);
        }
        response = response.header("got-target", parts.uri.to_string());
        response = response.header("got-method", parts.method.as_str());
        let body = body.map_err(std::io::Error::other).boxed_unsync();
        response.body(body).unwrap()
    })
}
