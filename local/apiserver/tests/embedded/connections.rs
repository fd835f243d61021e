//! The way in over TLS, and what can go wrong at the start.

use std::{net::SocketAddr, os::unix::fs::PermissionsExt as _};

use fermata_apiserver::{ApiServer, Error, Options};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config,
    api::{ListParams, PostParams, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    requests::{PATIENCE, call, eventually},
    support::options,
};

/// A client that comes over TLS, as other programs do.
pub(crate) async fn remote(kubeconfig: &str) -> Client {
    // Another test may have done it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

/// The kubeconfig without its client certificate.
pub(crate) fn anonymous(kubeconfig: &str) -> String {
    let lines = kubeconfig.lines().filter(|line| !line.contains("client-"));
    let lines: Vec<&str> = lines.collect();
    lines.join("\n").replace("  user:\n", "  user: {}\n")
}

#[tokio::test]
async fn the_credentials_open_the_door_and_nothing_else_does() {
    let server = ApiServer::start(options()).await.unwrap();
    let client = remote(&server.kubeconfig()).await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let new = serde_json::from_value(json!({"metadata": {"name": "x"}})).unwrap();
    api.create(&PostParams::default(), &new).await.unwrap();

    let stranger = remote(&anonymous(&server.kubeconfig())).await;
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(
            call(&stranger, "GET", path, Value::Null).await.0,
            200,
            "{path}"
        );
    }
    for path in [
        "/api/v1/namespaces/default/configmaps/x",
        "/api",
        "/apis",
        "/openapi/v3",
        "/nothing",
    ] {
        let (code, body) = call(&stranger, "GET", path, Value::Null).await;
        assert_eq!(
            (code, body["reason"].as_str()),
            (401, Some("Unauthorized")),
            "{path}"
        );
    }
    // A certificate of another authority does not even get to talk.
    let other = ApiServer::start(options()).await.unwrap();
    let theirs = other.kubeconfig();
    let certificate = |config: &str, field: &str| {
        let line = config.lines().find(|line| line.contains(field)).unwrap();
        line.to_owned()
    };
    let mut mixed = server.kubeconfig();
    for field in ["client-certificate-data", "client-key-data"] {
        mixed = mixed.replace(
            &certificate(&server.kubeconfig(), field),
            &certificate(&theirs, field),
        );
    }
    let forger: Api<ConfigMap> = Api::default_namespaced(remote(&mixed).await);
    assert!(forger.list(&ListParams::default()).await.is_err());
    other.shutdown().await;
    server.shutdown().await;
}

#[tokio::test]
async fn silent_and_rude_clients_disturb_nobody() {
    let server = ApiServer::start(options()).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(server.address()).await.unwrap());
    }
    let mut rude = TcpStream::connect(server.address()).await.unwrap();
    rude.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, rude.read_to_end(&mut answer))
        .await
        .unwrap()
        .ok();
    let client = remote(&server.kubeconfig()).await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let params = ListParams::default();
    let list = tokio::time::timeout(PATIENCE, api.list(&params));
    assert!(list.await.unwrap().unwrap().items.is_empty());
    tokio::time::timeout(PATIENCE, server.shutdown())
        .await
        .unwrap();
}

#[tokio::test]
async fn more_silent_clients_than_there_may_be_keep_nobody_out() {
    // Both ends are in this process.
    let files = fermata_listen::files::raise();
    let count = usize::try_from(files.limit / 4).map_or(600, |share| share.min(600));
    let server = ApiServer::start(options()).await.unwrap();
    let client = remote(&server.kubeconfig()).await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let params = WatchParams::default();
    let mut watch = api.watch(&params, "0").await.unwrap().boxed();
    let mut silent = Vec::new();
    for _ in 0..count {
        silent.push(TcpStream::connect(server.address()).await.unwrap());
    }
    let other: Api<ConfigMap> = Api::default_namespaced(remote(&server.kubeconfig()).await);
    let new = serde_json::from_value(json!({"metadata": {"name": "x"}})).unwrap();
    let params = PostParams::default();
    let created = tokio::time::timeout(PATIENCE, other.create(&params, &new));
    created.await.unwrap().unwrap();
    let event = tokio::time::timeout(PATIENCE, watch.next()).await;
    assert!(event.unwrap().unwrap().is_ok(), "the watch goes on");
    server.shutdown().await;
}

#[tokio::test]
async fn the_authority_is_kept_private_and_kubeconfigs_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: Some(dir.path().join("data")),
        pki_dir: Some(dir.path().join("pki")),
        ..options()
    };
    let server = ApiServer::start(options.clone()).await.unwrap();
    let kubeconfig = server.kubeconfig();
    let address = server.address();
    server.shutdown().await;
    let mode = |name: &str| {
        let metadata = std::fs::metadata(dir.path().join(name)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!((mode("pki"), mode("pki/ca.key")), (0o700, 0o600));

    let server = ApiServer::start(Options {
        listen: address,
        ..options.clone()
    })
    .await
    .unwrap();
    let api: Api<ConfigMap> = Api::default_namespaced(remote(&kubeconfig).await);
    api.list(&ListParams::default()).await.unwrap();
    server.shutdown().await;

    std::fs::write(dir.path().join("pki/ca.key"), "no key").unwrap();
    let error = ApiServer::start(options).await.unwrap_err();
    assert!(matches!(error, Error::Pki(_)), "{error}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("delete ca.crt and ca.key"), "{source}");
}

#[tokio::test]
async fn a_start_that_cannot_be_says_why_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let durable = Options {
        data_dir: Some(dir.path().to_owned()),
        ..options()
    };
    let server = ApiServer::start(durable.clone()).await.unwrap();
    let taken = Options {
        listen: server.address(),
        ..options()
    };
    let error = ApiServer::start(taken).await.unwrap_err();
    assert!(matches!(error, Error::AddressInUse { .. }), "{error}");
    assert!(
        error.to_string().contains("choose another address"),
        "{error}"
    );
    let error = ApiServer::start(durable.clone()).await.unwrap_err();
    assert!(
        error.to_string().contains("in use by another process"),
        "{error}"
    );
    server.shutdown().await;

    let open: SocketAddr = ([0, 0, 0, 0], 0).into();
    let error = ApiServer::start(Options {
        listen: open,
        ..options()
    })
    .await
    .unwrap_err();
    assert!(matches!(error, Error::NotLoopback { .. }), "{error}");

    let file = dir.path().join("state.redb");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, b"damaged").unwrap();
    let error = ApiServer::start(durable.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Store(_)), "{error}");
    assert!(error.to_string().contains("state.redb"), "{error}");
    assert_eq!(
        std::fs::read(&file).unwrap(),
        b"damaged",
        "nothing is thrown away"
    );
    std::fs::write(&file, whole).unwrap();
    let server = ApiServer::start(durable).await.unwrap();
    server.shutdown().await;

    let blocked = dir.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    let error = ApiServer::start(Options {
        data_dir: Some(blocked.join("below")),
        ..options()
    })
    .await
    .unwrap_err();
    assert!(matches!(error, Error::Directory { .. }), "{error}");
}

#[tokio::test]
async fn a_port_is_free_again_after_the_end() {
    let server = ApiServer::start(options()).await.unwrap();
    let listen = server.address();
    server.shutdown().await;
    let again = eventually("the port to be free", async || {
        ApiServer::start(Options {
            listen,
            ..options()
        })
        .await
        .ok()
    })
    .await;
    again.shutdown().await;
}

#[tokio::test]
async fn a_server_that_is_only_dropped_lets_go_of_its_store() {
    let dir = tempfile::tempdir().unwrap();
    let durable = Options {
        data_dir: Some(dir.path().to_owned()),
        ..options()
    };
    drop(ApiServer::start(durable.clone()).await.unwrap());
    let again = eventually("the store to be free", async || {
        ApiServer::start(durable.clone()).await.ok()
    })
    .await;
    again.shutdown().await;
}
