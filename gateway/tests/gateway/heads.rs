//! Heads of requests and answers: how many fields, how many bytes, and how their lines end.

use std::fmt::Write;

use bytes::Bytes;
use futures::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Behaviour, FunctionSpec, Harness, RawClient, chat, echo, respond_with, text};

const HOST: &str = "host: f.default.localhost\r\n";

fn fields(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        write!(text, "x-{number}: y\r\n").unwrap();
        text
    })
}

/// A function that answers each request with this head, byte for byte.
fn answers(head: String) -> Behaviour {
    Behaviour::raw(move |mut stream| {
        let head = head.clone();
        async move {
            let mut buffer = [0; 4096];
            while let Ok(1..) = stream.read(&mut buffer).await {
                if stream.write_all(head.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
        .boxed()
    })
}

/// Says how many fields that begin with `x-` and a digit it got, and for which target.
fn counts() -> Behaviour {
    respond_with(|request, _| async move {
        let (parts, body) = request.into_parts();
        let numbered = parts.headers.keys().filter(|name| {
            let rest = name.as_str().strip_prefix("x-");
            rest.is_some_and(|rest| rest.parse::<u32>().is_ok())
        });
        Response::builder()
            .header("got-fields", numbered.count())
            .header("got-target", parts.uri.to_string())
            .body(body.map_err(std::io::Error::other).boxed_unsync())
            .unwrap()
    })
}

#[tokio::test]
async fn requests_with_many_fields_are_answered_among_others() {
    let harness = Harness::with(&[FunctionSpec::warm("f", counts())]).await;
    let mut client = RawClient::open(harness.data).await;
    for (count, body) in [
        (5, ""),
        (98, "a"),
        (101, "bc"),
        (990, "def"),
        (5, "g"),
        (300, ""),
    ] {
        let length = body.len();
        client
            .send(&format!(
                "POST / HTTP/1.1\r\n{HOST}content-length: {length}\r\n{}\r\n{body}",
                fields(count)
            ))
            .await;
        let answer = client.read_until(&format!("\r\n\r\n{body}")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{count}: {answer}");
        let got = format!("got-fields: {count}\r\n");
        assert!(answer.contains(&got), "{count}: {answer}");
    }
    // All of them at once, the many fields in the middle.
    let mut client = RawClient::open(harness.data).await;
    let request =
        |count: usize, name: &str| format!("GET /{name} HTTP/1.1\r\n{HOST}{}\r\n", fields(count));
    let all = [
        request(1, "a"),
        request(500, "b"),
        request(101, "c"),
        request(2, "last"),
    ];
    client.send(&all.concat()).await;
    let answers = client.read_until("got-target: /last").await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 4, "{answers}");
    // And a byte at a time.
    let mut client = RawClient::open(harness.data).await;
    client.0.set_nodelay(true).unwrap();
    for byte in request(105, "slow").bytes() {
        client.0.write_all(&[byte]).await.unwrap();
    }
    let answer = client.read_until("got-target: /slow").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn too_many_fields_are_refused_with_the_number_that_holds() {
    let harness = Harness::with(&[FunctionSpec::warm("f", counts())]).await;
    for before in [
        "",
        "GET /first HTTP/1.1\r\nhost: f.default.localhost\r\n\r\n",
    ] {
        let mut client = RawClient::open(harness.data).await;
        let request = format!("{before}GET / HTTP/1.1\r\n{HOST}{}\r\n", fields(1000));
        client.send(&request).await;
        let answer = client.read_to_end().await;
        assert!(answer.contains("HTTP/1.1 431 "), "{answer}");
        assert!(
            answer.contains("x-fermata-reason: HeadersTooLarge"),
            "{answer}"
        );
        assert!(answer.contains("more than 1000 header fields"), "{answer}");
        let first = answer.contains("got-target: /first");
        assert_eq!(first, !before.is_empty(), "what came before is answered");
    }
    let stream = TcpStream::connect(harness.data).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    for (count, status) in [(999, 200), (1001, 431)] {
        let mut call = Request::post("http://f.default.localhost/");
        for number in 0..count {
            call = call.header(format!("x-{number}"), "y");
        }
        let response = sender.send_request(call.body(Full::new(Bytes::new())).unwrap());
        let response = response.await.unwrap();
        assert_eq!(response.status(), status, "{count}");
        if status == 431 {
            assert!(
                text(response)
                    .await
                    .contains("more than 1000 header fields")
            );
        }
    }
}

#[tokio::test]
async fn answers_with_too_large_a_head_are_told_for_what_they_are() {
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n",
        fields(100)
    );
    let large = format!(
        "HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n",
        "y".repeat(70_000)
    );
    let fits = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", fields(90));
    let functions = [
        FunctionSpec::warm("many", answers(many)),
        FunctionSpec::warm("large", answers(large)),
        FunctionSpec::warm("fits", answers(fits)),
    ];
    let harness = Harness::with(&functions).await;
    for (function, says) in [
        ("many", "more than 100 header fields"),
        ("large", "more than 65536 bytes of head"),
    ] {
        let answer = harness.get(function, "/").await;
        assert_eq!(answer.status, 502);
        assert_eq!(answer.reason(), "FunctionReset");
        assert!(answer.text().contains(says), "{}", answer.text());
    }
    assert_eq!(harness.get("fits", "/").await.status, 200);
}

#[tokio::test]
async fn bare_line_feeds_are_refused_wherever_the_head_begins() {
    let harness = Harness::with(&[FunctionSpec::warm("f", echo())]).await;
    let heads = [
        "GET / HTTP/1.1\nhost: f.default.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: f.default.localhost\n\r\n",
        "GET / HTTP/1.1\r\nhost: f.default.localhost\r\nx: a\ny: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: f.default.localhost\r\n\n",
    ];
    let before = [
        "",
        "GET /first HTTP/1.1\r\nhost: f.default.localhost\r\n\r\n",
        "POST /first HTTP/1.1\r\nhost: f.default.localhost\r\ncontent-length: 3\r\n\r\n\n\n\n",
        "POST /first HTTP/1.1\r\nhost: f.default.localhost\r\ntransfer-encoding: chunked\r\n\r\n2\r\n\n\n\r\n0\r\n\r\n",
    ];
    for head in heads {
        for before in before {
            let mut client = RawClient::open(harness.data).await;
            client.send(&format!("{before}{head}")).await;
            let answer = client.read_to_end().await;
            let refused = "HTTP/1.1 400 Bad Request\r\nconnection: close";
            assert!(answer.contains(refused), "{before:?} {head:?}: {answer}");
            assert!(answer.contains("bare line feed"), "{answer}");
            let first = answer.contains("got-target: /first");
            assert_eq!(first, !before.is_empty(), "what came before is answered");
        }
    }
}

#[tokio::test]
async fn what_a_tunnel_carries_is_not_looked_at() {
    let function = FunctionSpec::warm("f", chat()).template(json!({}));
    let harness = Harness::with(&[function]).await;
    let mut client = RawClient::open(harness.data).await;
    client
        .send(&format!(
            "GET / HTTP/1.1\r\n{HOST}connection: Upgrade\r\nupgrade: chat\r\n\r\n"
        ))
        .await;
    client.read_until("welcome\n").await;
    let lines = "line\n".repeat(2000) + "end";
    client.send(&lines).await;
    let back = client.read_until("end").await;
    assert_eq!(back.len(), lines.len());
}

#[tokio::test]
async fn informational_answers_are_skipped_but_not_for_ever() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n";
    let some = hints.repeat(100) + "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let endless = Behaviour::raw(move |mut stream| {
        async move {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let many = hints.repeat(100);
            while stream.write_all(many.as_bytes()).await.is_ok() {}
        }
        .boxed()
    });
    let functions = [
        FunctionSpec::warm("some", answers(some)),
        FunctionSpec::warm("endless", endless),
    ];
    let harness = Harness::with(&functions).await;
    for _ in 0..3 {
        let answer = harness.get("some", "/").await;
        assert_eq!((answer.status.as_u16(), &*answer.text()), (200, "ok"));
        let answer = harness.get("endless", "/").await;
        assert_eq!(answer.status, 502);
        let says = "more than 262144 bytes before the head of its answer";
        assert!(answer.text().contains(says), "{}", answer.text());
    }
}
