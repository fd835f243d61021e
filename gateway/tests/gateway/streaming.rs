//! Bodies go through as they come, in both directions.

use std::convert::Infallible;

use bytes::Bytes;
use futures::{StreamExt, channel::mpsc, stream};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};

use crate::support::{
    Behaviour, Connection, FunctionSpec, Harness, RawClient, chat, echo, full, request,
    respond_with, until,
};

fn to(function: &str) -> http::request::Builder {
    Request::post("/").header("host", format!("{function}.default.localhost"))
}

/// Sends back each chunk as it comes.
fn mirror() -> Behaviour {
    respond_with(|request, _| async move {
        Response::new(
            request
                .into_body()
                .map_err(std::io::Error::other)
                .boxed_unsync(),
        )
    })
}

#[tokio::test]
async fn chunks_pass_both_ways_before_the_bodies_end() {
    let harness = Harness::with(&[FunctionSpec::warm("mirror", mirror())]).await;
    let (sender, chunks) = mpsc::unbounded::<Bytes>();
    let body = StreamBody::new(chunks.map(|chunk| Ok::<_, Infallible>(Frame::data(chunk))));
    let mut connection = Connection::open(harness.data).await;
    let mut response = connection
        .send(to("mirror").body(body).unwrap())
        .await
        .unwrap();
    for text in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        sender.unbounded_send(Bytes::from(text)).unwrap();
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), text);
    }
    drop(sender);
    assert!(response.body_mut().frame().await.is_none());
}

#[tokio::test]
async fn large_bodies_come_through_whole() {
    let harness = Harness::with(&[FunctionSpec::warm("mirror", mirror())]).await;
    let large: Bytes = (0..4 * 1024 * 1024_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    for _ in 0..3 {
        let asked = to("mirror").body(Full::new(large.clone())).unwrap();
        let answer = request(harness.data, asked).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body == large);
    }
}

#[tokio::test]
async fn trailers_come_through() {
    let trailing = respond_with(|_, _| async {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "7".parse().unwrap());
        let frames = [
            Ok(Frame::data(Bytes::from("x"))),
            Ok(Frame::trailers(trailers)),
        ];
        let body = StreamBody::new(stream::iter(frames)).boxed_unsync();
        Response::builder()
            .header("trailer", "x-checksum")
            .body(body)
            .unwrap()
    });
    let harness = Harness::with(&[FunctionSpec::warm("trailing", trailing)]).await;
    let asked = to("trailing")
        .header("te", "trailers")
        .header("connection", "te");
    let mut connection = Connection::open(harness.data).await;
    let response = connection
        .send(asked.body(Empty::<Bytes>::new()).unwrap())
        .await
        .unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-checksum"], "7");
}

#[tokio::test]
async fn a_head_has_a_length_and_no_body_and_the_connection_goes_on() {
    let sized = respond_with(|_, _| async { Response::new(full("twelve bytes")) });
    let harness = Harness::with(&[FunctionSpec::warm("sized", sized)]).await;
    let mut connection = Connection::open(harness.data).await;
    for _ in 0..3 {
        let asked = Request::head("/").header("host", "sized.default.localhost");
        let response = connection
            .send(asked.body(Empty::<Bytes>::new()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.headers()["content-length"], "12");
        assert!(
            response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .is_empty()
        );
    }
}

#[tokio::test]
async fn bodyless_statuses_come_through() {
    let behaviour = respond_with(|request, _| async move {
        let status: u16 = request.uri().path()[1..].parse().unwrap();
        Response::builder().status(status).body(full("")).unwrap()
    });
    let harness = Harness::with(&[FunctionSpec::warm("status", behaviour)]).await;
    for status in ["204", "304", "201", "404", "418", "500"] {
        let answer = harness.get("status", &format!("/{status}")).await;
        assert_eq!(answer.status.as_str(), status);
        assert_eq!(
            answer.reason(),
            "",
            "the function's own answer has no reason of the gateway"
        );
    }
}

#[tokio::test]
async fn bodies_come_through_with_any_method_and_without_a_length() {
    let functions = [
        FunctionSpec::warm("echo", echo()),
        FunctionSpec::warm("h2c", echo()).template(serde_json::json!({ "protocol": "h2c" })),
    ];
    let harness = Harness::with(&functions).await;
    for function in ["echo", "h2c"] {
        for method in ["GET", "POST", "DELETE", "OPTIONS", "PURGE"] {
            let body = futures::stream::iter(["two ", "parts"]);
            let body = body.map(|part| Ok::<_, Infallible>(Frame::data(Bytes::from(part))));
            let asked = Request::builder().method(method).uri("/");
            let asked = asked
                .header("host", format!("{function}.default.localhost"))
                .header("transfer-encoding", "chunked");
            let asked = asked.body(StreamBody::new(body)).unwrap();
            let answer = request(harness.data, asked).await;
            assert_eq!(answer.text(), "two parts", "{function} {method}");
            assert_eq!(answer.header("got-method"), method);
        }
        // A GET without a body is none of one chunk.
        let answer = harness.get(function, "/").await;
        assert_eq!(answer.text(), "");
        assert_eq!(answer.header("got-transfer-encoding"), "");
        assert_eq!(answer.header("got-content-length"), "");
    }
    let stream = tokio::net::TcpStream::connect(harness.data).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    for function in ["echo", "h2c"] {
        let body = futures::stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from("data")))]);
        let asked = Request::get(format!("http://{function}.default.localhost/"));
        let asked = asked.body(StreamBody::new(body)).unwrap();
        let response = sender.send_request(asked).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "data", "{function}");
    }
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on() {
    let harness = Harness::with(&[FunctionSpec::warm("echo", echo())]).await;
    let mut client = RawClient::open(harness.data).await;
    client
        .send("POST / HTTP/1.1\r\nhost: echo.default.localhost\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        .await;
    // The function may begin to answer at once.
    let begun = client.read_until("\r\n\r\n").await;
    assert!(begun.starts_with("HTTP/1.1 100 "), "{begun}");
    let (_, begun) = begun.split_once("\r\n\r\n").unwrap();
    client.send("hi").await;
    let answer = begun.to_owned() + &client.read_until("hi").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(!answer.contains("got-expect"), "{answer}");
}

#[tokio::test]
async fn a_client_that_asks_first_and_is_refused_sends_nothing() {
    let harness = Harness::with(&[]).await;
    let mut client = RawClient::open(harness.data).await;
    client
        .send(
            "POST / HTTP/1.1\r\nhost: nobody\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n",
        )
        .await;
    let answer = client.read_until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[tokio::test]
async fn an_upgraded_connection_is_a_tunnel_and_keeps_its_instance_busy() {
    let harness = Harness::with(&[FunctionSpec::warm("chat", chat())]).await;
    let in_flight = async |count: u32| {
        let line = format!(
            "fermata_requests_in_flight{{namespace=\"default\",function=\"chat\"}} {count}\n"
        );
        until(&line, async || {
            harness.admin("/metrics").await.contains(&line)
        })
        .await;
    };
    let mut client = RawClient::open(harness.data).await;
    client
        .send("GET / HTTP/1.1\r\nhost: chat.default.localhost\r\nconnection: Upgrade\r\nupgrade: chat\r\n\r\n")
        .await;
    let head = client.read_until("welcome\n").await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("upgrade: chat"), "{head}");
    client.send("hello there").await;
    assert_eq!(client.read_until("there").await, "hello there");
    in_flight(1).await;
    drop(client);
    in_flight(0).await;
}
