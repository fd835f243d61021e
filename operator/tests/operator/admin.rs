//! What the operator tells about itself.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use fermata_daemon::admin::AdminOptions;
use fermata_operator::{Error, Operator, Options};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, api::PostParams};
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// Options with a free port for the admin server, and its address.
pub(crate) fn options() -> (Options, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let options = Options {
        admin: AdminOptions::at(address),
        ..Options::default()
    };
    (options, address)
}

/// The status and all of the answer; nothing while nobody listens.
async fn ask(address: SocketAddr, request: &str) -> Option<(u16, String)> {
    ask_as(address, "localhost", request).await
}

async fn ask_as(address: SocketAddr, host: &str, request: &str) -> Option<(u16, String)> {
    let request = format!("{request} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    });
    let answer = answer.await.expect("no panic")?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer))
}

/// Waits for an answer with this status.
pub(crate) async fn until(address: SocketAddr, request: &str, status: u16) -> String {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let answer = ask(address, request).await;
        if let Some((_, text)) = answer.as_ref().filter(|(given, _)| *given == status) {
            return text.clone();
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for a good answer with this text in it.
pub(crate) async fn until_says(address: SocketAddr, request: &str, text: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !until(address, request, 200).await.contains(text) {
        assert!(tokio::time::Instant::now() < deadline, "{text}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn it_is_ready_when_everything_is_listed_and_tells_what_it_did() {
    let mut world = World::with_kinds(Vec::new()).await;
    let (options, address) = options();
    world.start_operator(options);
    until(address, "GET /livez", 200).await;
    let text = until(address, "GET /readyz", 503).await;
    assert!(text.contains("not everything has been listed"), "{text}");

    let kinds: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    for kind in fermata_crds::crd::all() {
        let created = kinds.create(&PostParams::default(), &kind).await;
        created.expect("a kind");
    }
    until(address, "GET /readyz", 200).await;
    world
        .apply("hello", "{ image: a, scale: { initial: 0 } }")
        .await;
    world.ready("hello").await;
    let text = until(address, "GET /metrics", 200).await;
    for metric in [
        "fermata_reconcile_total{controller=\"function\",result=\"ok\"}",
        "fermata_reconcile_duration_seconds_bucket",
        "fermata_api_writes_total{kind=\"Deployment\"} 1",
        "fermata_watch_errors_total{kind=\"Function\"}",
        "fermata_operator_leader 1",
    ] {
        assert!(text.contains(metric), "{metric} is not in {text}");
    }
    until(address, "GET /nothing", 404).await;
    until(address, "POST /livez", 405).await;
    world.end().await;
}

#[tokio::test]
async fn it_answers_to_names_of_its_own_only() {
    let mut world = World::without_operator().await;
    let (mut options, address) = options();
    options.admin.hosts = vec!["operator.example".to_owned()];
    world.start_operator(options);
    until(address, "GET /livez", 200).await;
    for (host, status) in [
        ("operator.example:9091", 200),
        ("127.0.0.1", 200),
        ("evil.example", 421),
    ] {
        let (given, text) = ask_as(address, host, "GET /metrics")
            .await
            .expect("an answer");
        assert_eq!(given, status, "{host}: {text}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_at_once() {
    let world = World::without_operator().await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let options = Options {
        admin: AdminOptions::at(taken.local_addr().expect("an address")),
        ..Options::default()
    };
    let operator = Operator::new(world.client.clone(), options);
    let error = operator.run(CancellationToken::new()).await;
    let error = error.expect_err("an error");
    assert!(matches!(error, Error::Admin { .. }));
    assert!(error.to_string().contains("--admin"), "{error}");
    world.end().await;
}
