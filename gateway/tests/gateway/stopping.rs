//! A gateway that stops cuts nothing short.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tokio::{net::TcpStream, sync::Semaphore};

use crate::support::{
    Behaviour, Connection, FunctionSpec, Harness, echo, full, get, respond_with, text, until,
};

fn held(gate: &Arc<Semaphore>) -> Behaviour {
    let gate = gate.clone();
    respond_with(move |_, _| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            Response::new(full("whole"))
        }
    })
}

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
            get(harness.admin, "admin", "/readyz").await.status == 503
        })
        .await;
        assert_eq!(get(harness.admin, "admin", "/livez").await.status, 200);
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
        admin: SocketAddr::from(([127, 0, 0, 1], 0)),
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
            get(admin, "admin", "/readyz").await.status == 503
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
