//! Functions of the tests: HTTP handlers.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
};

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

/// Answers `whole` as soon as the gate lets one more through.
pub(crate) fn held(gate: &Arc<Semaphore>) -> Behaviour {
    let gate = gate.clone();
    respond_with(move |_, _| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            Response::new(full("whole"))
        }
    })
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

/// Switches to a protocol called chat, which begins with a welcome and echoes what comes.
pub(crate) fn chat() -> Behaviour {
    respond_with(|mut request, _| async move {
        assert_eq!(request.headers()["upgrade"], "chat");
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            stream.write_all(b"welcome\n").await.unwrap();
            let mut buffer = [0; 64];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                stream.write_all(&buffer[..count]).await.unwrap();
            }
        });
        Response::builder()
            .status(101)
            .header("connection", "upgrade")
            .header("upgrade", "chat")
            .body(full(""))
            .unwrap()
    })
}
