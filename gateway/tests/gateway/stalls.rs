//! Peers that take nothing of what is sent to them, and peers that send nothing of what they owe.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Semaphore,
};

use serde_json::json;

use crate::support::{
    Behaviour, FunctionSpec, Harness, RawClient, full, request, respond_with, until,
};

const SHORT: Duration = Duration::from_millis(200);

const BLOCK: usize = 32 * 1024;

/// Answers without end, once the gate is open.
fn endless(gate: &Arc<Semaphore>) -> Behaviour {
    let gate = gate.clone();
    respond_with(move |_, _| {
        let gate = gate.clone();
        async move {
            let frames = stream::repeat_with(|| Ok(Frame::data(Bytes::from(vec![b'x'; BLOCK]))));
            let frames = stream::once(async move {
                drop(gate.acquire().await.unwrap());
                frames
            });
            Response::new(StreamBody::new(frames.flatten()).boxed_unsync())
        }
    })
}

fn open() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1))
}

async fn until_in_flight(harness: &Harness, function: &str, wanted: impl Fn(u32) -> bool) {
    let name =
        format!("fermata_requests_in_flight{{namespace=\"default\",function=\"{function}\"}} ");
    until(&name, async || {
        let page = harness.admin("/metrics").await;
        let line = page.lines().find_map(|line| line.strip_prefix(&name));
        line.is_some_and(|count| wanted(count.parse().unwrap()))
    })
    .await;
}

async fn impatient(functions: &[FunctionSpec]) -> Harness {
    Harness::with_options(functions, |options| {
        options.write_timeout = SHORT.into();
    })
    .await
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let harness = impatient(&[FunctionSpec::warm("f", endless(&open()))]).await;
    let mut client = RawClient::open(harness.data).await;
    client
        .send("GET / HTTP/1.1\r\nhost: f.default.localhost\r\n\r\n")
        .await;
    until_in_flight(&harness, "f", |count| count == 1).await;
    until_in_flight(&harness, "f", |count| count == 0).await;
    drop(client);
}

#[tokio::test]
async fn a_client_that_reads_now_and_then_is_not_cut() {
    let harness = impatient(&[FunctionSpec::warm("f", endless(&open()))]).await;
    let mut client = RawClient::open(harness.data).await;
    client
        .send("GET / HTTP/1.1\r\nhost: f.default.localhost\r\n\r\n")
        .await;
    let (mut read, begun) = (0, tokio::time::Instant::now());
    // A pause of each reader is shorter than the timeout, all of them together are longer.
    while begun.elapsed() < 3 * SHORT {
        let mut buffer = vec![0; 4 * 1024 * 1024];
        read += client.0.read(&mut buffer).await.unwrap();
        tokio::time::sleep(SHORT / 20).await;
    }
    assert!(read > 0);
    until_in_flight(&harness, "f", |count| count == 1).await;
}

/// A connection that can stop reading.
struct Reading {
    stream: TcpStream,
    stopped: Arc<AtomicBool>,
}

impl AsyncRead for Reading {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.stopped.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Reading {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A client of HTTP/2 that gives this much room, and what stops it from reading.
async fn h2(harness: &Harness, window: u32) -> (http2::SendRequest<Empty<Bytes>>, Arc<AtomicBool>) {
    let stopped = Arc::<AtomicBool>::default();
    let reading = Reading {
        stream: TcpStream::connect(harness.data).await.unwrap(),
        stopped: stopped.clone(),
    };
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .initial_connection_window_size(window)
        .handshake(TokioIo::new(reading))
        .await
        .unwrap();
    tokio::spawn(connection);
    (sender, stopped)
}

fn to(function: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://{function}.default.localhost/"))
        .body(Empty::new())
        .unwrap()
}

#[tokio::test]
async fn an_http2_connection_that_does_not_read_is_cut() {
    let gate = Arc::new(Semaphore::new(0));
    let harness = impatient(&[FunctionSpec::warm("f", endless(&gate))]).await;
    let (sender, stopped) = h2(&harness, i32::MAX as u32).await;
    let calls = (0..20).map(|_| {
        let mut sender = sender.clone();
        async move { sender.send_request(to("f")).await.unwrap() }
    });
    let heads = futures::future::join_all(calls).await;
    stopped.store(true, Ordering::SeqCst);
    gate.add_permits(1);
    until_in_flight(&harness, "f", |count| count == 0).await;
    drop(heads);
}

#[tokio::test]
async fn a_stream_that_is_given_no_room_gives_its_instance_back() {
    let limited = FunctionSpec::warm("f", endless(&open()))
        .template(json!({ "concurrency": 1 }))
        .scale(json!({ "max": 1 }));
    let functions = [limited, FunctionSpec::warm("echo", crate::support::echo())];
    let harness = impatient(&functions).await;
    let (mut sender, _) = h2(&harness, 64 * 1024).await;
    // Its body is held and not read; the connection itself goes on.
    let stalled = sender.send_request(to("f")).await.unwrap();
    until_in_flight(&harness, "f", |count| count == 0).await;
    let response = sender.send_request(to("echo")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(stalled.into_body().collect().await.is_err(), "never ended");
}

#[tokio::test]
async fn a_function_that_does_not_read_is_given_up() {
    let deaf = |protocol: &'static str| {
        let behaviour = Behaviour::raw(|stream| {
            async move {
                std::future::pending::<()>().await;
                drop(stream);
            }
            .boxed()
        });
        FunctionSpec::warm("f", behaviour).template(json!({ "protocol": protocol }))
    };
    let harness = impatient(&[deaf("http1")]).await;
    let blocks =
        stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; BLOCK]))));
    let asked = Request::post("/").header("host", "f.default.localhost");
    let body = StreamBody::new(blocks.boxed());
    let answer = request(harness.data, asked.body(body).unwrap()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.reason()),
        (504, "RequestTimeout")
    );
    assert!(answer.text().contains("took no byte"), "{}", answer.text());
}

/// Answers when it has the whole body, with its length.
fn length() -> Behaviour {
    respond_with(|request, _| async move {
        match request.into_body().collect().await {
            Ok(body) => Response::new(full(body.to_bytes().len().to_string())),
            Err(_) => Response::builder().status(500).body(full("")).unwrap(),
        }
    })
}

#[tokio::test]
async fn stalled_uploads_do_not_hold_a_limited_function() {
    let function = FunctionSpec::warm("f", length())
        .template(json!({ "concurrency": 1 }))
        .scale(json!({ "max": 1 }));
    let harness = Harness::with_options(&[function], |options| {
        options.body_timeout = SHORT.into();
    })
    .await;
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let mut client = RawClient::open(harness.data).await;
        client
            .send(
                "POST / HTTP/1.1\r\nhost: f.default.localhost\r\ncontent-length: 100000\r\n\r\nabc",
            )
            .await;
        stalled.push(client);
    }
    until_in_flight(&harness, "f", |count| count == 4).await;
    assert_eq!(harness.get("f", "/").await.status, 200);
    for client in &mut stalled {
        let answer = client.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(
            answer.contains("x-fermata-reason: ClientTimeout"),
            "{answer}"
        );
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn an_upload_that_goes_on_slowly_is_not_cut() {
    let harness = Harness::with_options(&[FunctionSpec::warm("f", length())], |options| {
        options.body_timeout = SHORT.into();
    })
    .await;
    let mut client = RawClient::open(harness.data).await;
    client
        .send("POST / HTTP/1.1\r\nhost: f.default.localhost\r\ncontent-length: 15\r\n\r\n")
        .await;
    for _ in 0..15 {
        tokio::time::sleep(SHORT / 5).await;
        client.send("x").await;
    }
    let answer = client.read_until("\r\n\r\n15").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn what_the_function_says_of_silence_goes_before_the_default() {
    let short =
        FunctionSpec::warm("f", length()).template(json!({ "timeouts": { "idle": "100ms" } }));
    let harness = Harness::with(&[short]).await;
    let mut client = RawClient::open(harness.data).await;
    client
        .send("POST / HTTP/1.1\r\nhost: f.default.localhost\r\ncontent-length: 10\r\n\r\nhalf")
        .await;
    let answer = client.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");

    let long = FunctionSpec::warm("f", length()).template(json!({ "timeouts": { "idle": "60s" } }));
    let harness = Harness::with_options(&[long], |options| {
        options.body_timeout = (SHORT / 10).into();
    })
    .await;
    let mut client = RawClient::open(harness.data).await;
    client
        .send("POST / HTTP/1.1\r\nhost: f.default.localhost\r\ncontent-length: 2\r\n\r\nx")
        .await;
    tokio::time::sleep(SHORT).await;
    client.send("y").await;
    let answer = client.read_until("\r\n\r\n2").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn silence_is_judged_by_the_revision_that_takes_the_request() {
    // The first one takes connections and closes them at once. Either the request comes back unsent, and
    // goes to the second one, or it was on its way already, which shows nothing: then once more.
    for _ in 0..100 {
        let closing = Behaviour::raw(|stream| async move { drop(stream) }.boxed());
        let first = FunctionSpec::warm("f", closing);
        let harness = Harness::with(std::slice::from_ref(&first)).await;
        let mut client = RawClient::open(harness.data).await;
        client
            .send("POST / HTTP/1.1\r\nhost: f.default.localhost\r\ncontent-length: 10\r\n\r\nhalf")
            .await;
        let second =
            FunctionSpec::warm("f", length()).template(json!({ "timeouts": { "idle": "100ms" } }));
        harness.cluster.add_revision(&second, "f-00002", true);
        harness
            .cluster
            .put_function(&second, "f-00002", Some("f-00002"));
        let answer = client.read_to_end().await;
        if answer.starts_with("HTTP/1.1 408 ") {
            return;
        }
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    }
    panic!("no request came back unsent");
}

#[tokio::test]
async fn a_stream_of_grpc_may_be_silent() {
    let mirror =
        FunctionSpec::warm("f", crate::support::echo()).template(json!({ "protocol": "h2c" }));
    let harness = Harness::with_options(&[mirror], |options| {
        options.body_timeout = (SHORT / 4).into();
    })
    .await;
    let stream = TcpStream::connect(harness.data).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    for (kind, survives) in [("application/grpc", true), ("application/json", false)] {
        let (messages, body) = futures::channel::mpsc::unbounded::<Bytes>();
        let body = body.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
        let call = Request::post("http://f.default.localhost/").header("content-type", kind);
        let call = call.body(StreamBody::new(body)).unwrap();
        let mut response = sender.send_request(call).await.unwrap();
        assert_eq!(response.status(), 200);
        tokio::time::sleep(SHORT).await;
        let sent = messages.unbounded_send(Bytes::from("late"));
        let frame = response.body_mut().frame().await;
        let came = frame.is_some_and(|frame| frame.is_ok());
        assert_eq!(came, survives, "{kind} {sent:?}");
    }
}
