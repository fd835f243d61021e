//! Connections that only cost: silent ones, slow ones, and more of them than there may be.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use fermata_gateway::Bound;
use futures::future::join_all;
use http::Request;
use http_body_util::{Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
};

use crate::support::{
    Connection, FunctionSpec, Harness, RawClient, chat, echo, get, held, text, until,
};

const ASK: &str = "GET / HTTP/1.1\r\nhost: f.default.localhost\r\n\r\n";

/// A connection from another address of this machine.
async fn from(source: [u8; 4], to: SocketAddr) -> RawClient {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((source, 0))).unwrap();
    RawClient(socket.connect(to).await.unwrap())
}

async fn silent(count: usize, to: SocketAddr) -> Vec<RawClient> {
    join_all((0..count).map(|_| RawClient::open(to))).await
}

async fn in_flight(harness: &Harness, count: u32) {
    let line =
        format!("fermata_requests_in_flight{{namespace=\"default\",function=\"f\"}} {count}\n");
    until(&line, async || {
        harness.admin("/metrics").await.contains(&line)
    })
    .await;
}

#[tokio::test]
async fn silent_connections_keep_nobody_out_and_running_requests_stay() {
    let gate = Arc::new(Semaphore::new(0));
    let functions = [
        FunctionSpec::warm("f", held(&gate)),
        FunctionSpec::warm("echo", echo()),
    ];
    let harness = Harness::with_options(&functions, |options| {
        options.max_connections = Bound::of(8);
        options.max_connections_per_address = Bound::of(8);
    })
    .await;
    let mut running = RawClient::open(harness.data).await;
    running.send(ASK).await;
    in_flight(&harness, 1).await;
    // One that has had its answer is as idle as one that never asked.
    let mut kept = Connection::open(harness.data).await;
    let asked = Request::get("/").header("host", "echo.default.localhost");
    let response = kept.send(asked.body(Empty::<Bytes>::new()).unwrap()).await;
    assert_eq!(response.unwrap().status(), 200);

    let mut silent = silent(60, harness.data).await;
    for _ in 0..20 {
        assert_eq!(harness.get("echo", "/").await.status, 200);
    }
    assert_eq!(silent[0].read_to_end().await, "", "it made room");
    gate.add_permits(1);
    assert!(running.read_until("whole").await.ends_with("whole"));
}

#[tokio::test]
async fn half_sent_heads_and_idle_http2_connections_make_room_too() {
    let harness = Harness::with_options(&[FunctionSpec::warm("f", echo())], |options| {
        options.max_connections = Bound::of(6);
        options.max_connections_per_address = Bound::of(6);
    })
    .await;
    for begun in ["GET / HTTP/1.1\r\nhost: f", "PRI * HTTP", "P"] {
        for client in &mut silent(10, harness.data).await {
            client.send(begun).await;
        }
    }
    let mut connections = Vec::new();
    for _ in 0..10 {
        let stream = TcpStream::connect(harness.data).await.unwrap();
        let (sender, connection) =
            http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        connections.push((sender, tokio::spawn(connection)));
    }
    assert_eq!(harness.get("f", "/").await.status, 200);
    let (_, first) = connections.remove(0);
    let _ = first.await.unwrap();
}

#[tokio::test]
async fn one_address_cannot_take_all_connections() {
    let gate = Arc::new(Semaphore::new(0));
    let harness = Harness::with_options(&[FunctionSpec::warm("f", held(&gate))], |options| {
        options.max_connections = Bound::of(10);
        options.max_connections_per_address = Bound::of(4);
    })
    .await;
    let mut greedy = silent(4, harness.data).await;
    for client in &mut greedy {
        client.send(ASK).await;
    }
    in_flight(&harness, 4).await;
    let mut fifth = RawClient::open(harness.data).await;
    assert_eq!(fifth.read_to_end().await, "", "all four of it are busy");
    let mut other = from([127, 0, 0, 2], harness.data).await;
    other.send(ASK).await;
    in_flight(&harness, 5).await;
    gate.add_permits(5);
    assert!(other.read_until("whole").await.ends_with("whole"));
    for client in &mut greedy {
        assert!(client.read_until("whole").await.ends_with("whole"));
    }
    let mut sixth = RawClient::open(harness.data).await;
    gate.add_permits(1);
    sixth.send(ASK).await;
    assert!(sixth.read_until("whole").await.ends_with("whole"));
}

#[tokio::test]
async fn a_tunnel_is_a_connection_too() {
    let harness = Harness::with_options(&[FunctionSpec::warm("f", chat())], |options| {
        options.max_connections = Bound::of(1);
        options.max_connections_per_address = Bound::of(2);
    })
    .await;
    let mut tunnel = RawClient::open(harness.data).await;
    tunnel
        .send("GET / HTTP/1.1\r\nhost: f.default.localhost\r\nconnection: Upgrade\r\nupgrade: chat\r\n\r\n")
        .await;
    tunnel.read_until("welcome\n").await;
    let ask = harness.get("nobody", "/");
    let mut next = std::pin::pin!(ask);
    let early = tokio::time::timeout(Duration::from_millis(200), next.as_mut()).await;
    assert!(early.is_err(), "{early:?}");
    tunnel.send("still here").await;
    assert_eq!(tunnel.read_until("here").await, "still here");
    drop(tunnel);
    assert_eq!(next.await.status, 404);
}

#[tokio::test]
async fn half_a_head_has_less_time_than_an_idle_connection() {
    let harness = Harness::with_options(&[FunctionSpec::warm("f", echo())], |options| {
        options.header_timeout = Duration::from_millis(100).into();
    })
    .await;
    let mut idle = RawClient::open(harness.data).await;
    let mut kept = RawClient::open(harness.data).await;
    kept.send(ASK).await;
    kept.read_until("\r\n\r\n").await;
    for begun in ["G", "GET / HTTP/1.1\r\nhost: f", "PRI * HTTP/2.0"] {
        let mut client = RawClient::open(harness.data).await;
        client.send(begun).await;
        let answer = client.read_to_end().await;
        if begun.starts_with('G') {
            assert!(answer.starts_with("HTTP/1.1 408 "), "{begun:?}: {answer:?}");
            assert!(
                answer.contains("x-fermata-reason: ClientTimeout"),
                "{answer}"
            );
        }
    }
    kept.send("GET / HTTP/1.1\r\nhost:").await;
    let answer = kept.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
    idle.send(ASK).await;
    assert!(
        idle.read_until("\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
}

#[tokio::test]
async fn idle_connections_end_after_their_time() {
    let harness = Harness::with_options(&[FunctionSpec::warm("f", echo())], |options| {
        options.idle_timeout = Duration::from_millis(100).into();
    })
    .await;
    let mut kept = RawClient::open(harness.data).await;
    kept.send(ASK).await;
    kept.read_until("\r\n\r\n").await;
    assert_eq!(kept.read_to_end().await, "");
    assert_eq!(RawClient::open(harness.data).await.read_to_end().await, "");

    let stream = TcpStream::connect(harness.data).await.unwrap();
    let (mut sender, connection) =
        http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let asked = Request::post("http://f.default.localhost/").body(Full::from("hi"));
    let response = sender.send_request(asked.unwrap()).await.unwrap();
    assert_eq!(text(response).await, "hi");
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn silent_connections_do_not_hide_health() {
    // Twice as many files as connections, for both ends are in this process.
    let files = fermata_listen::files::raise();
    let count = usize::try_from(files.limit / 4).map_or(400, |share| share.min(400));
    let harness = Harness::with(&[]).await;
    let _silent = silent(count, harness.admin).await;
    assert_eq!(get(harness.admin, "localhost", "/livez").await.status, 200);
}
