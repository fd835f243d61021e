//! An events program.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, uri::Authority};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// One that says what it was asked.
pub(crate) async fn events() -> Authority {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|request: Request<Incoming>| async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let headers: serde_json::Map<String, Value> = head
                    .headers
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
                    .collect();
                let seen = json!({
                    "method": head.method.as_str(), "target": head.uri.to_string(),
                    "headers": headers, "body": String::from_utf8_lossy(&body),
                });
                let answer = Response::builder()
                    .status(202)
                    .header("location", "/somewhere")
                    .body(Full::new(Bytes::from(seen.to_string())));
                Ok::<_, Infallible>(answer.unwrap())
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address.to_string().parse().unwrap()
}
