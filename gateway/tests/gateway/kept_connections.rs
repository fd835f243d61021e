//! Connections that the function's side ends while they are idle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};

use crate::support::{Behaviour, Connection, FunctionSpec, Harness, full, text};

/// Requests per test, each of which finds the connection of the one before ended.
const ROUNDS: u32 = 50;

/// An idle connection is one that was not used for a moment.
const MOMENT: Duration = Duration::from_millis(20);

/// How a function ends a connection.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Sends nothing more, and goes on reading.
    Half,
    Close,
    Reset,
    /// Answers what nobody has asked, as servers do that say why they close.
    Speak,
}

/// A function that ends its connections when it is told to.
#[derive(Clone)]
struct Ending {
    /// One permit is one connection to end.
    end: Arc<Semaphore>,
    /// One permit is one connection that was ended.
    ended: Arc<Semaphore>,
    /// Requests that were answered.
    answered: Arc<AtomicU32>,
    /// Bytes that came after the end.
    lost: Arc<AtomicU32>,
}

// === impl Ending ===

impl Ending {
    fn new() -> Self {
        Self {
            end: Arc::new(Semaphore::new(0)),
            ended: Arc::new(Semaphore::new(0)),
            answered: Arc::default(),
            lost: Arc::default(),
        }
    }

    fn http1(&self, how: End) -> Behaviour {
        let this = self.clone();
        Behaviour::raw(move |stream| this.clone().serve(stream, how).boxed())
    }

    /// Answers one request, and ends the connection after that.
    async fn serve(self, mut stream: TcpStream, how: End) {
        let mut request = Vec::new();
        while !request.ends_with(b"hello") {
            match stream.read_buf(&mut request).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nworld";
        stream.write_all(answer.as_bytes()).await.unwrap();
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.end.acquire().await.unwrap().forget();
        let listening = match how {
            End::Half => {
                stream.shutdown().await.unwrap();
                Some(stream)
            }
            End::Speak => {
                let timeout = "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(timeout.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                Some(stream)
            }
            End::Close => {
                drop(stream);
                None
            }
            End::Reset => {
                let now = Some(Duration::ZERO);
                SockRef::from(&stream).set_linger(now).unwrap();
                drop(stream);
                None
            }
        };
        self.ended.add_permits(1);
        if let Some(mut stream) = listening {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            let lost = u32::try_from(rest.len()).unwrap();
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
    }

    /// Serves HTTP/2 until the connection is to end.
    fn http2(&self) -> Behaviour {
        let this = self.clone();
        Behaviour::raw(move |stream| {
            let this = this.clone();
            async move {
                let answered = this.answered.clone();
                let service = service_fn(move |_: Request<Incoming>| {
                    answered.fetch_add(1, Ordering::Relaxed);
                    async { Ok::<_, std::convert::Infallible>(Response::new(full("world"))) }
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let serving = server.serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    _ = serving => {}
                    end = this.end.acquire() => end.unwrap().forget(),
                }
                this.ended.add_permits(1);
            }
            .boxed()
        })
    }

    /// Sends requests one after another over one connection to the gateway.
    async fn call(&self, template: serde_json::Value, behaviour: Behaviour) {
        let function = FunctionSpec::warm("f", behaviour).template(template);
        let harness = Harness::with(&[function]).await;
        let mut client = Connection::open(harness.data).await;
        for round in 1..=ROUNDS {
            let request = Request::post("/")
                .version(Version::HTTP_11)
                .header("host", "f.default.localhost")
                .body(Full::new(Bytes::from_static(b"hello")))
                .unwrap();
            let response = client.send(request).await.unwrap();
            assert_eq!(response.status(), 200, "{round}: {response:?}");
            assert_eq!(text(response).await, "world");
            self.end.add_permits(1);
            self.ended.acquire().await.unwrap().forget();
            tokio::time::sleep(MOMENT).await;
        }
        assert_eq!(self.answered.load(Ordering::Relaxed), ROUNDS);
        assert_eq!(self.lost.load(Ordering::Relaxed), 0);
    }
}

#[tokio::test]
async fn a_request_after_a_closed_connection_is_answered() {
    let function = Ending::new();
    let behaviour = function.http1(End::Close);
    function.call(json!({}), behaviour).await;
}

#[tokio::test]
async fn a_request_after_a_half_closed_connection_is_answered_and_sent_once() {
    let function = Ending::new();
    let behaviour = function.http1(End::Half);
    function.call(json!({}), behaviour).await;
}

#[tokio::test]
async fn a_request_after_a_reset_connection_is_answered() {
    let function = Ending::new();
    let behaviour = function.http1(End::Reset);
    function.call(json!({}), behaviour).await;
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_not_given_to_the_next_request() {
    let function = Ending::new();
    let behaviour = function.http1(End::Speak);
    function.call(json!({}), behaviour).await;
}

#[tokio::test]
async fn a_request_after_a_closed_http2_connection_is_answered() {
    let function = Ending::new();
    let behaviour = function.http2();
    function.call(json!({ "protocol": "h2c" }), behaviour).await;
}
