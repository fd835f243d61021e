//! HTTP/1.1 and HTTP/2 on either side, and gRPC.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::{Behaviour, FunctionSpec, Harness, echo, get, respond_with};

async fn h2(harness: &Harness) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(harness.data).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn to(function: &str) -> http::request::Builder {
    Request::post(format!("http://{function}.default.localhost/call?x"))
}

/// Answers as gRPC servers do: the status comes last.
fn grpc() -> Behaviour {
    respond_with(|request, _| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(request.headers()["te"], "trailers");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let frames = [Ok(Frame::data(body)), Ok(Frame::trailers(trailers))];
        let body = StreamBody::new(futures::stream::iter(frames)).boxed_unsync();
        Response::builder()
            .header("content-type", "application/grpc")
            .body(body)
            .unwrap()
    })
}

#[tokio::test]
async fn grpc_passes_with_its_trailers() {
    let function = FunctionSpec::cold("grpc", grpc()).template(json!({ "protocol": "h2c" }));
    let harness = Harness::with(&[function]).await;
    let mut client = h2(&harness).await;
    for _ in 0..3 {
        let call = to("grpc")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let call = call.body(Full::new(Bytes::from("message"))).unwrap();
        let response = client.send_request(call).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(body.to_bytes(), "message");
    }
}

#[tokio::test]
async fn grpc_gets_the_gateways_failures_in_its_own_form() {
    let function = FunctionSpec::cold("full", Behaviour::Deaf)
        .template(json!({ "protocol": "h2c", "timeouts": { "start": "50ms" } }));
    let harness = Harness::with(&[function]).await;
    let mut client = h2(&harness).await;
    for (function, status) in [("nobody", "12"), ("full", "4")] {
        let call = to(function).header("content-type", "application/grpc+proto");
        let response = client
            .send_request(call.body(Full::default()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], status, "{function}");
        assert!(response.headers().contains_key("grpc-message"));
        assert_eq!(response.headers()["content-type"], "application/grpc");
    }
}

#[tokio::test]
async fn many_streams_share_a_connection_on_both_sides() {
    let function = FunctionSpec::cold("echo", echo()).template(json!({ "protocol": "h2c" }));
    let harness = Harness::with(&[function]).await;
    let client = h2(&harness).await;
    let calls = (0..150).map(|number| {
        let mut client = client.clone();
        async move {
            let body = Bytes::from(format!("body {number}"));
            let response = client.send_request(to("echo").body(Full::new(body.clone())).unwrap());
            let response = response.await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(
                response.into_body().collect().await.unwrap().to_bytes(),
                body
            );
        }
    });
    futures::future::join_all(calls).await;
}

#[tokio::test]
async fn an_http_2_client_reaches_an_http_1_function() {
    let harness = Harness::with(&[FunctionSpec::warm("echo", echo())]).await;
    let mut client = h2(&harness).await;
    let call = to("echo").header("cookie", "a=1").header("cookie", "b=2");
    let response = client
        .send_request(call.body(Full::from("hi")).unwrap())
        .await
        .unwrap();
    assert_eq!(response.headers()["got-host"], "echo.default.localhost");
    assert_eq!(response.headers()["got-target"], "/call?x");
    assert_eq!(response.headers()["got-cookie"], "a=1; b=2");
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "hi"
    );
}

#[tokio::test]
async fn an_http_1_client_reaches_an_http_2_function() {
    let function = FunctionSpec::warm("echo", echo()).template(json!({ "protocol": "h2c" }));
    let harness = Harness::with(&[function]).await;
    let answer = get(harness.data, "echo.default.localhost:81", "/x?y").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("got-target"),
        "http://echo.default.localhost:81/x?y"
    );
}

#[tokio::test]
async fn connect_is_refused() {
    let harness = Harness::with(&[FunctionSpec::warm("echo", echo())]).await;
    let mut request = Request::connect("echo.default.localhost:80");
    request = request.header("host", "echo.default.localhost");
    let answer =
        crate::support::request(harness.data, request.body(Empty::<Bytes>::new()).unwrap()).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.reason(), "BadRequest");
}
