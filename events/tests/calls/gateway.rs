//! A gateway whose functions answer as the test says.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, request::Parts, uri::Authority};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// What was asked of the gateway.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
    /// How many requests there were before.
    pub(crate) before: usize,
}

/// The gateway. It hangs up when it is dropped.
pub(crate) struct Gateway {
    address: std::net::SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _task: AbortOnDropHandle<()>,
}

pub(crate) type Answered = Response<Full<Bytes>>;

impl Gateway {
    /// One whose answers the closure makes.
    pub(crate) async fn start(
        answer: impl Fn(Asked) -> BoxFuture<'static, Answered> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (answer, log) = (Arc::new(answer), asked.clone());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, log) = (answer.clone(), log.clone());
                connections.spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (answer, log) = (answer.clone(), log.clone());
                        async move {
                            let (head, body) = request.into_parts();
                            let body = body.collect().await.unwrap().to_bytes();
                            let asked = {
                                let mut log = log.lock().unwrap();
                                let before = log.len();
                                let asked = Asked { head, body, before };
                                log.push(asked.clone());
                                asked
                            };
                            Ok::<_, Infallible>(answer(asked).await)
                        }
                    });
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            asked,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// One whose functions answer so at once.
    pub(crate) async fn answering(
        answer: impl Fn(Asked) -> Answered + Send + Sync + 'static,
    ) -> Self {
        let answer = Arc::new(answer);
        Self::start(move |asked| {
            let answer = answer.clone();
            Box::pin(async move { answer(asked) })
        })
        .await
    }

    pub(crate) fn authority(&self) -> Authority {
        self.address.to_string().parse().unwrap()
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// An answer with this status and body.
pub(crate) fn answer(status: u16, body: &str) -> Answered {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    Response::builder().status(status).body(body).unwrap()
}

/// The gateway's own answer for this reason.
pub(crate) fn refusal(status: u16, reason: &str) -> Answered {
    let mut answer = answer(status, "the gateway says so");
    answer
        .headers_mut()
        .insert("x-fermata-reason", reason.parse().unwrap());
    answer
}
