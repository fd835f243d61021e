//! Clients and functions that do not behave.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, channel::mpsc, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    Behaviour, Connection, FunctionSpec, Harness, RawClient, echo, full, request, respond_with,
    until,
};

/// Reads a request's head, writes these bytes and closes.
fn says(bytes: &'static str) -> Behaviour {
    Behaviour::raw(move |mut stream| {
        async move {
            let mut buffer = [0; 4096];
            if matches!(stream.read(&mut buffer).await, Ok(1..)) {
                let _ = stream.write_all(bytes.as_bytes()).await;
            }
        }
        .boxed()
    })
}

fn to(function: &str) -> http::request::Builder {
    Request::post("/").header("host", format!("{function}.default.localhost"))
}

// --- clients ---

#[tokio::test]
async fn malformed_requests_are_refused_and_closed() {
    let harness = Harness::with(&[FunctionSpec::warm("f", echo())]).await;
    for bad in [
        "nonsense\r\n\r\n",
        "GET / HTTP/9.9\r\nhost: f.default.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : f.default.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: f.default.localhost\r\n folded: x\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: f.default.localhost\r\ncontent-length: x\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: f.default.localhost\r\ncontent-length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: f.default.localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nhost: f.default.localhost\r\ntransfer-encoding: gzip\r\n\r\n",
        "\0\x01\x02\x03\r\n\r\n",
    ] {
        let mut client = RawClient::open(harness.data).await;
        client.send(bad).await;
        let answer = client.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{bad:?}: {answer:?}");
        assert!(
            answer.contains("x-fermata-reason: BadRequest"),
            "{answer:?}"
        );
        assert!(answer.ends_with('}'), "{answer:?}");
    }
    assert_eq!(harness.get("f", "/").await.status, 200);
}

#[tokio::test]
async fn requests_without_one_sane_host_are_refused_with_a_reason() {
    let harness = Harness::with(&[FunctionSpec::warm("f", echo())]).await;
    for bad in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET http://f.default.localhost/ HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: f.default.localhost\r\nhost: g\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: f.default.localhost, g\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: user@f.default.localhost\r\n\r\n",
    ] {
        let mut client = RawClient::open(harness.data).await;
        client.send(bad).await;
        // What follows may not be a request.
        let answer = client.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{bad:?}: {answer:?}");
        assert!(answer.contains("x-fermata-reason: BadRequest"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn what_was_asked_before_a_bad_body_is_answered_and_nothing_after_it() {
    let harness = Harness::with(&[FunctionSpec::warm("f", echo())]).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: f.default.localhost\r\n\r\n");
    for bad in [
        "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n",
        "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let post = format!("POST /3 HTTP/1.1\r\nhost: f.default.localhost\r\n{bad}");
        let mut client = RawClient::open(harness.data).await;
        let all = [get("/1"), get("/2"), post, get("/4")].concat();
        client.send(&all).await;
        let answers = client.read_to_end().await;
        for (target, answered) in [("/1", true), ("/2", true), ("/4", false)] {
            let target = format!("got-target: {target}\r\n");
            assert_eq!(answers.contains(&target), answered, "{bad:?}: {answers:?}");
        }
    }
}

#[tokio::test]
async fn a_request_of_two_lengths_cannot_smuggle_another() {
    let harness = Harness::with(&[FunctionSpec::warm("f", echo())]).await;
    let mut client = RawClient::open(harness.data).await;
    client
        .send(
            "POST / HTTP/1.1\r\nhost: f.default.localhost\r\ncontent-length: 4\r\n\
             transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        )
        .await;
    let answer = client.read_until("\r\n\r\n").await;
    // Either way of reading it is one request with its framing made anew: chunked, and no length.
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    assert!(!answer.contains("got-content-length: 4"), "{answer}");
}

#[tokio::test]
async fn large_heads_and_bodies_are_refused_with_a_reason() {
    let harness = Harness::with_options(&[FunctionSpec::warm("f", echo())], |options| {
        options.max_header_bytes = 1000;
        options.max_body_bytes = 1000;
    })
    .await;
    let asked = to("f")
        .header("x-large", "x".repeat(1000))
        .body(Full::<Bytes>::default());
    let answer = request(harness.data, asked.unwrap()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.reason()),
        (431, "HeadersTooLarge")
    );

    let answer = request(
        harness.data,
        to("f").body(Full::<Bytes>::from("x".repeat(1001))).unwrap(),
    )
    .await;
    assert_eq!(
        (answer.status.as_u16(), answer.reason()),
        (413, "PayloadTooLarge")
    );

    // Without a length it shows only on the way.
    let chunks =
        (0..11).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b'x'; 100]))));
    let held = FunctionSpec::warm(
        "g",
        respond_with(|request, _| async move {
            let _ = request.into_body().collect().await;
            Response::new(full("all"))
        }),
    );
    harness.cluster.add(&held);
    until("g answers", async || {
        harness.get("g", "/").await.status == 200
    })
    .await;
    let answer = request(
        harness.data,
        to("g").body(StreamBody::new(stream::iter(chunks))).unwrap(),
    )
    .await;
    assert_eq!(
        (answer.status.as_u16(), answer.reason()),
        (413, "PayloadTooLarge")
    );

    assert_eq!(
        request(
            harness.data,
            to("f").body(Full::<Bytes>::from("x".repeat(1000))).unwrap()
        )
        .await
        .status,
        200
    );
}

#[tokio::test]
async fn an_endless_head_is_refused() {
    let harness = Harness::with(&[]).await;
    let mut client = RawClient::open(harness.data).await;
    client.send("GET / HTTP/1.1\r\n").await;
    let line = format!("x: {}\r\n", "y".repeat(8000));
    for _ in 0..100 {
        if client.0.write_all(line.as_bytes()).await.is_err() {
            break;
        }
    }
    let answer = client.read_to_end().await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
}

#[tokio::test]
async fn clients_that_say_nothing_or_half_a_head_are_closed() {
    let harness = Harness::with_options(&[], |options| {
        options.header_timeout = Duration::from_millis(100).into();
        options.idle_timeout = Duration::from_millis(100).into();
    })
    .await;
    for begun in ["", "P", "PRI", "PRI *", "GET / HTTP/1.1\r\nhost: f"] {
        let mut client = RawClient::open(harness.data).await;
        client.send(begun).await;
        let answer = client.read_to_end().await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
            "{begun:?}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_request_at_the_function() {
    let (left, mut leaving) = mpsc::unbounded::<()>();
    let behaviour = Behaviour::raw(move |mut stream| {
        let left = left.clone();
        async move {
            let mut buffer = [0; 4096];
            // The probe's connection carries the request.
            while let Ok(1..) = stream.read(&mut buffer).await {}
            left.unbounded_send(()).unwrap();
        }
        .boxed()
    });
    let harness = Harness::with(&[FunctionSpec::warm("f", behaviour)]).await;
    let mut client = RawClient::open(harness.data).await;
    client
        .send("GET / HTTP/1.1\r\nhost: f.default.localhost\r\n\r\n")
        .await;
    let line = "fermata_requests_in_flight{namespace=\"default\",function=\"f\"} 1";
    until(line, async || {
        harness.admin("/metrics").await.contains(line)
    })
    .await;
    drop(client);
    leaving.next().await.unwrap();
    let line = "code=\"499\"} 1";
    until(line, async || {
        harness.admin("/metrics").await.contains(line)
    })
    .await;
}

#[tokio::test]
async fn a_client_that_stalls_in_its_body_is_given_up() {
    let function = FunctionSpec::warm("f", echo()).template(json!({
        "timeouts": { "idle": "100ms" },
    }));
    let harness = Harness::with(&[function]).await;
    let mut client = RawClient::open(harness.data).await;
    client
        .send("POST / HTTP/1.1\r\nhost: f.default.localhost\r\ncontent-length: 10\r\n\r\nhalf")
        .await;
    // The function had begun to answer; what it said is cut off, not ended.
    let answer = client.read_to_end().await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 "),
        "{answer}"
    );
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
}

// --- functions ---

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_bad_gateway() {
    for garbage in [
        "garbage\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "",
        "SSH-2.0-OpenSSH\r\n",
    ] {
        let harness = Harness::with(&[FunctionSpec::warm("f", says(garbage))]).await;
        let answer = harness.get("f", "/").await;
        assert_eq!(answer.status, 502, "{garbage:?}");
        assert_eq!(answer.reason(), "FunctionReset", "{garbage:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_complete() {
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let harness = Harness::with(&[FunctionSpec::warm("f", says(head))]).await;
        let mut connection = Connection::open(harness.data).await;
        let response = connection
            .send(to("f").body(Full::<Bytes>::default()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.into_body().collect().await.is_err(), "{head:?}");
    }
}

#[tokio::test]
async fn slow_functions_run_into_their_own_clocks() {
    let slow = || respond_with(|_, _| std::future::pending());
    let functions = [
        FunctionSpec::warm("first", slow())
            .template(json!({ "timeouts": { "firstByte": "100ms" } })),
        FunctionSpec::warm("whole", slow()).template(json!({ "timeouts": { "request": "100ms" } })),
    ];
    let harness = Harness::with(&functions).await;
    let first = harness.get("first", "/").await;
    assert_eq!(
        (first.status.as_u16(), first.reason()),
        (504, "FirstByteTimeout")
    );
    let whole = harness.get("whole", "/").await;
    assert_eq!(
        (whole.status.as_u16(), whole.reason()),
        (504, "RequestTimeout")
    );
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_cut_and_not_ended() {
    let drip = respond_with(|_, _| async {
        let chunks = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Some((Ok(Frame::data(Bytes::from("x"))), ()))
        });
        Response::new(StreamBody::new(chunks).boxed_unsync())
    });
    let function =
        FunctionSpec::warm("f", drip).template(json!({ "timeouts": { "request": "200ms" } }));
    let harness = Harness::with(&[function]).await;
    let mut connection = Connection::open(harness.data).await;
    let response = connection
        .send(to("f").body(Full::<Bytes>::default()).unwrap())
        .await
        .unwrap();
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn an_instance_that_is_replaced_costs_no_request() {
    let harness = Harness::with(&[FunctionSpec::warm("f", echo())]).await;
    assert_eq!(harness.get("f", "/").await.status, 200);
    for _ in 0..3 {
        for pod in harness.cluster.pods("f-00001") {
            harness.cluster.kill(&pod);
        }
        assert_eq!(harness.get("f", "/").await.status, 200);
    }
}
