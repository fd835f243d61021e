//! Clients that leave while their request waits or runs.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use socket2::SockRef;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{Behaviour, FunctionSpec, Harness, RawClient, respond_with, until};

/// Requests of which something is not read while they wait.
const UNREAD: [&str; 5] = [
    "POST / HTTP/1.1\r\nhost: f.default.localhost\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: f.default.localhost\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
    "POST / HTTP/1.1\r\nhost: f.default.localhost\r\ncontent-length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nhost: f.default.localhost\r\ncontent-length: 100\r\n\r\nhello",
    "GET / HTTP/1.1\r\nhost: f.default.localhost\r\n\r\nGET / HTTP/1.1\r\nhost: f.default.localhost\r\n\r\n",
];

async fn until_metric(harness: &Harness, name: &str, count: usize) {
    let line = format!("{name}{{namespace=\"default\",function=\"f\"}} {count}\n");
    until(&line, async || {
        harness.admin("/metrics").await.contains(&line)
    })
    .await;
}

#[tokio::test]
async fn who_leaves_the_queue_leaves_no_ghost() {
    let harness = Harness::with(&[FunctionSpec::cold("f", Behaviour::Deaf)]).await;
    for reset in [false, true] {
        let mut clients = Vec::new();
        for request in UNREAD {
            let mut client = RawClient::open(harness.data).await;
            client.send(request).await;
            if reset {
                let now = Some(Duration::ZERO);
                SockRef::from(&client.0).set_linger(now).unwrap();
            }
            clients.push(client);
        }
        until_metric(&harness, "fermata_queue_depth", UNREAD.len()).await;
        drop(clients);
        until_metric(&harness, "fermata_queue_depth", 0).await;
    }
}

#[tokio::test]
async fn who_ends_its_side_of_the_connection_has_left() {
    let harness = Harness::with(&[FunctionSpec::cold("f", Behaviour::Deaf)]).await;
    for request in UNREAD {
        let mut client = RawClient::open(harness.data).await;
        client.send(request).await;
        until_metric(&harness, "fermata_queue_depth", 1).await;
        client.0.shutdown().await.unwrap();
        assert_eq!(client.read_to_end().await, "");
        until_metric(&harness, "fermata_queue_depth", 0).await;
    }
}

#[tokio::test]
async fn who_leaves_a_function_at_work_gives_its_place_back() {
    let function = FunctionSpec::warm("f", respond_with(|_, _| std::future::pending()))
        .template(json!({ "concurrency": 1 }))
        .scale(json!({ "max": 1 }));
    let harness = Harness::with(&[function]).await;
    for request in UNREAD {
        let mut client = RawClient::open(harness.data).await;
        client.send(request).await;
        until_metric(&harness, "fermata_requests_in_flight", 1).await;
        drop(client);
        until_metric(&harness, "fermata_requests_in_flight", 0).await;
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_leaves_the_queue() {
    let harness = Harness::with(&[FunctionSpec::cold("f", Behaviour::Deaf)]).await;
    let stream = TcpStream::connect(harness.data).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let asked = Request::post("http://f.default.localhost/");
    let asked = asked.body(Full::new(Bytes::from("hello"))).unwrap();
    let response = tokio::spawn(sender.send_request(asked));
    until_metric(&harness, "fermata_queue_depth", 1).await;
    response.abort();
    until_metric(&harness, "fermata_queue_depth", 0).await;
    assert!(sender.ready().await.is_ok(), "the connection goes on");
}
