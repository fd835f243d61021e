//! A gateway that stops cuts nothing short.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use fermata_daemon::admin::AdminOptions;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::Semaphore};

use crate::support::{
    Behaviour, Connection, FunctionSpec, Harness, RawClient, echo, get, held, text, until,
};

#[tokio::test]
async fn running_requests_finish_and_new_connections_are_refused() {
    let gate = Arc::new(Semaphore::new(0));
    let mut harness = Harness::with_options(&[FunctionSpec::warm("f", held(&gate))], |options| {
        options.shutdown_delay = Duration::from_millis(200).into();
    })
    .await;
    let asked = Request::get("/").header("host", "f.default.localhost");
    let mut connection = Connection::open(harness.data).await;
    let running = connection.send(asked.body(Empty::<Bytes>::new()).unwrap());
    let stop = async {
        let line = "fermata_requests_in_flight{namespace=\"default\",function=\"f\"} 1";
        until(line, async || {
            harness.admin("/metrics").await.contains(line)
        })
        .await;
        harness.shutdown.cancel();
        until("readiness fails", async || {
            get(harness.admin, "localhost", "/readyz").await.status == 503
        })
        .await;
        assert_eq!(get(harness.admin, "localhost", "/livez").await.status, 200);
        until("connections are refused", async || {
            TcpStream::connect(harness.data).await.is_err()
        })
        .await;
        gate.add_permits(1);
    };
    let (response, ()) = tokio::join!(running, stop);
    let response = response.unwrap();
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(text(response).await, "whole");
    harness.gateway.take().unwrap().await.unwrap().unwrap();
}

#[tokio::test]
async fn under_load_on_kept_connections_a_stop_loses_no_request() {
    let mut harness = Harness::with_options(&[FunctionSpec::warm("f", echo())], |options| {
        // Longer than a client may take, on a busy machine, from an answer to its next request: what it
        // sends on a kept connection after the delay is lost, as HTTP/1.1 has it.
        options.shutdown_delay = Duration::from_secs(2).into();
    })
    .await;
    let (data, begun) = (harness.data, Arc::new(Semaphore::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| tokio::spawn(load(data, begun.clone())))
        .collect();
    begun.acquire_many(8).await.unwrap().forget();
    harness.shutdown.cancel();
    for client in clients {
        let renewals = client.await.unwrap();
        assert!(renewals > 0, "no answer asked to connect anew");
    }
    harness.gateway.take().unwrap().await.unwrap().unwrap();
}

/// Sends requests one after another until no connection can be had, on one connection as long as the
/// answers allow. Says how often they did not.
async fn load(gateway: SocketAddr, begun: Arc<Semaphore>) -> u32 {
    let mut renewals = 0;
    while let Some(mut connection) = Connection::try_open(gateway).await {
        loop {
            let asked = Request::get("/").header("host", "f.default.localhost");
            let asked = asked.body(Empty::<Bytes>::new()).unwrap();
            let response = connection.send(asked).await.expect("an answer");
            assert_eq!(response.status(), 200);
            let last = response.headers().get("connection").is_some();
            text(response).await;
            if last {
                break;
            }
            begun.add_permits(1);
        }
        renewals += 1;
    }
    renewals
}

#[tokio::test]
async fn an_idle_connection_lasts_until_the_end_of_the_delay() {
    let mut harness = Harness::with_options(&[FunctionSpec::warm("f", echo())], |options| {
        options.shutdown_delay = Duration::from_millis(1500).into();
    })
    .await;
    let request = "GET / HTTP/1.1\r\nhost: f.default.localhost\r\ncontent-length: 2\r\n\r\nhi";
    let (mut used, mut idle) = (
        RawClient::open(harness.data).await,
        RawClient::open(harness.data).await,
    );
    for client in [&mut used, &mut idle] {
        client.send(request).await;
        let answer = client.read_until("\r\n\r\nhi").await;
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    harness.shutdown.cancel();
    until("readiness fails", async || {
        get(harness.admin, "localhost", "/readyz").await.status == 503
    })
    .await;
    used.send(request).await;
    let answer = used.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(
        TcpStream::connect(harness.data).await.is_ok(),
        "the delay is not over"
    );
    assert_eq!(idle.read_to_end().await, "");
    harness.gateway.take().unwrap().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_of_http2_is_sent_away_at_the_beginning_of_the_delay() {
    let mut harness = Harness::with_options(&[FunctionSpec::warm("f", echo())], |options| {
        options.shutdown_delay = Duration::from_millis(1500).into();
    })
    .await;
    let asked = || {
        let request = Request::get("http://f.default.localhost/");
        request.body(Empty::<Bytes>::new()).unwrap()
    };
    let (mut early, ended) = http2(harness.data).await;
    assert_eq!(early.send_request(asked()).await.unwrap().status(), 200);
    harness.shutdown.cancel();
    ended.await.unwrap();
    // Who comes only now is served once, and sent away.
    let (mut late, ended) = http2(harness.data).await;
    assert_eq!(late.send_request(asked()).await.unwrap().status(), 200);
    ended.await.unwrap();
    assert!(
        TcpStream::connect(harness.data).await.is_ok(),
        "the delay is not over"
    );
    harness.gateway.take().unwrap().await.unwrap().unwrap();
}

/// A connection of HTTP/2, and its end.
async fn http2(
    address: SocketAddr,
) -> (
    http2::SendRequest<Empty<Bytes>>,
    tokio::task::JoinHandle<()>,
) {
    let stream = TcpStream::connect(address).await.unwrap();
    let client = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = client.await.unwrap();
    let ended = tokio::spawn(async move { connection.await.unwrap() });
    (sender, ended)
}

#[tokio::test]
async fn who_still_waits_at_the_end_is_told_why() {
    let function = FunctionSpec::cold("f", Behaviour::Deaf);
    let mut harness = Harness::with_options(&[function], |options| {
        options.drain_timeout = Duration::from_millis(100).into();
    })
    .await;
    let stop = async {
        let line = "fermata_queue_depth{namespace=\"default\",function=\"f\"} 1";
        until(line, async || {
            harness.admin("/metrics").await.contains(line)
        })
        .await;
        harness.shutdown.cancel();
    };
    let (answer, ()) = tokio::join!(harness.get("f", "/"), stop);
    assert_eq!(answer.status, 503);
    assert_eq!(answer.reason(), "Draining");
    harness.gateway.take().unwrap().await.unwrap().unwrap();
}

#[tokio::test]
async fn what_runs_beyond_the_drain_timeout_is_cut() {
    let gate = Arc::new(Semaphore::new(0));
    let mut harness = Harness::with_options(&[FunctionSpec::warm("f", held(&gate))], |options| {
        options.drain_timeout = Duration::from_millis(100).into();
    })
    .await;
    let asked = Request::get("/").header("host", "f.default.localhost");
    let mut connection = Connection::open(harness.data).await;
    let running = connection.send(asked.body(Empty::<Bytes>::new()).unwrap());
    let stop = async {
        let line = "fermata_requests_in_flight{namespace=\"default\",function=\"f\"} 1";
        until(line, async || {
            harness.admin("/metrics").await.contains(line)
        })
        .await;
        harness.shutdown.cancel();
    };
    let (response, ()) = tokio::join!(running, stop);
    assert!(response.is_err());
    harness.gateway.take().unwrap().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_gateway_that_begins_denies_no_function() {
    let harness = Harness::with(&[FunctionSpec::warm("f", echo())]).await;
    harness.cluster.api.set_down(true);
    let options = fermata_gateway::Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        admin: AdminOptions::at(SocketAddr::from(([127, 0, 0, 1], 0))),
        ..fermata_gateway::Options::default()
    };
    let client = harness.cluster.api.client();
    let gateway = fermata_gateway::Gateway::bind(client, options)
        .await
        .unwrap();
    let (data, admin) = (gateway.data_address(), gateway.admin_address());
    let running = tokio::spawn(gateway.run(harness.shutdown.clone()));
    let mended = async {
        until("it lives and is not ready", async || {
            get(admin, "localhost", "/readyz").await.status == 503
        })
        .await;
        harness.cluster.api.set_down(false);
    };
    let (answer, ()) = tokio::join!(get(data, "f.default.localhost", "/"), mended);
    assert_eq!(answer.status, 200);
    harness.shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_taken_port_is_told_before_anything_starts() {
    let harness = Harness::with(&[]).await;
    let options = fermata_gateway::Options {
        listen: harness.data,
        ..fermata_gateway::Options::default()
    };
    let client = harness.cluster.api.client();
    let error = fermata_gateway::Gateway::bind(client, options)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("--listen"), "{error}");
}

#[tokio::test]
async fn a_gateway_is_not_without_its_admin_port_where_others_ask_it() {
    let harness = Harness::with(&[]).await;
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = fermata_gateway::Options {
        listen: nowhere,
        listen_internal: nowhere,
        admin: AdminOptions::off(),
        ..fermata_gateway::Options::default()
    };
    let client = harness.cluster.api.client();
    let error = fermata_gateway::Gateway::bind(client, options)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("--admin"), "{error}");
}
