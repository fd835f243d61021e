//! An events program.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, uri::Authority};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

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

/// An events program that says what waits, until it is dropped.
pub(crate) struct Waiting {
    pub(crate) authority: Authority,
    /// What it says of the functions that have calls.
    pub(crate) functions: Arc<Mutex<Value>>,
    /// What it was told of their places.
    pub(crate) rooms: Arc<Mutex<Value>>,
    /// How it says that functions stand.
    pub(crate) standings: Arc<Mutex<Value>>,
    _task: AbortOnDropHandle<()>,
}

impl Waiting {
    /// One that says this, and makes at most a hundred calls of a function at once.
    pub(crate) async fn of(functions: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string().parse().unwrap();
        let (functions, rooms) = (Arc::new(Mutex::new(functions)), Arc::default());
        let standings = Arc::new(Mutex::new(json!({ "functions": [], "complete": true })));
        let stand = standings.clone();
        let (says, hears): (_, Arc<Mutex<Value>>) = (functions.clone(), Arc::clone(&rooms));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (says, hears, stand) = (says.clone(), hears.clone(), stand.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (says, hears, stand) = (says.clone(), hears.clone(), stand.clone());
                    async move {
                        let path = request.uri().path().to_owned();
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let said = if path == "/standings" {
                            stand.lock().unwrap().clone()
                        } else {
                            assert_eq!(path, "/backlogs");
                            *hears.lock().unwrap() = serde_json::from_slice(&body).unwrap();
                            json!({"most": 100, "functions": *says.lock().unwrap()})
                        };
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(said.to_string()))))
                    }
                });
                connections.spawn(async move {
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            authority,
            functions,
            rooms,
            standings,
            _task: AbortOnDropHandle::new(task),
        }
    }
}
