//! A kill at any moment loses nothing that was answered.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use fermata_apiserver::{ApiServer, Options};
use futures::future;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, api::PostParams};
use serde_json::json;

use crate::{connections::remote, requests::eventually, support::options};

/// Tells the child where to keep its data; without it the child does nothing.
const VARIABLE: &str = "FERMATA_APISERVER_TEST_DIR";

fn durable(dir: &Path) -> Options {
    Options {
        data_dir: Some(dir.join("data")),
        pki_dir: Some(dir.join("pki")),
        crds: Vec::new(),
        ..options()
    }
}

/// Not a test of its own: the server that the test below kills.
#[tokio::test]
async fn child() {
    let Some(dir) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        return;
    };
    let server = ApiServer::start(durable(&dir)).await.unwrap();
    let file = dir.join("kubeconfig.new");
    std::fs::write(&file, server.kubeconfig()).unwrap();
    std::fs::rename(file, dir.join("kubeconfig")).unwrap();
    future::pending::<()>().await;
}

fn spawn(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durability::child"])
        .env(VARIABLE, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Creates objects until the server is gone; returns the names that were answered.
async fn write(client: Client, writer: usize, answered: Arc<Mutex<Vec<String>>>) {
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    for n in 0.. {
        let name = format!("w{writer}-{n}");
        let new = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        match api.create(&PostParams::default(), &new).await {
            Ok(_) => answered.lock().unwrap().push(name),
            Err(_) => return,
        }
    }
}

#[tokio::test]
async fn nobody_else_reads_the_state_though_its_folder_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for folder in ["data", "pki"] {
        std::fs::create_dir(dir.path().join(folder)).unwrap();
    }
    let file = dir.path().join("data/state.redb");
    // Twice: what is there was made by an earlier version, perhaps.
    for _ in 0..2 {
        open(&dir.path().join("data"), 0o755);
        open(&dir.path().join("pki"), 0o755);
        let server = ApiServer::start(durable(dir.path())).await.unwrap();
        server.shutdown().await;
        for (path, mode) in [("data", 0o700), ("pki", 0o700), ("data/state.redb", 0o600)] {
            let found = std::fs::metadata(dir.path().join(path)).unwrap();
            assert_eq!(found.permissions().mode() & 0o777, mode, "{path}");
        }
        open(&file, 0o644);
    }
}

#[tokio::test]
async fn a_killed_server_has_every_answered_write_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let answered = Arc::new(Mutex::new(Vec::new()));
    for round in 0..2 {
        let file = dir.path().join("kubeconfig");
        std::fs::remove_file(&file).ok();
        let mut child = spawn(dir.path());
        let kubeconfig = eventually("the server to start", async || {
            std::fs::read_to_string(&file).ok()
        })
        .await;
        let client = remote(&kubeconfig).await;
        let before = answered.lock().unwrap().len();
        let writers = (0..8).map(|writer| {
            tokio::spawn(write(
                client.clone(),
                round * 8 + writer,
                Arc::clone(&answered),
            ))
        });
        let writers = future::join_all(writers);
        let kill = async {
            let enough = async || (answered.lock().unwrap().len() >= before + 100).then_some(());
            eventually("some writes", enough).await;
            child.kill().unwrap();
            child.wait().unwrap();
        };
        let both = future::join(writers, kill);
        tokio::time::timeout(Duration::from_secs(60), both)
            .await
            .unwrap();
    }
    let server = ApiServer::start(durable(dir.path())).await.unwrap();
    let api: Api<ConfigMap> = Api::default_namespaced(server.client("default"));
    let found = api.list(&kube::api::ListParams::default()).await.unwrap();
    let found: std::collections::HashSet<String> = found
        .items
        .into_iter()
        .filter_map(|one| one.metadata.name)
        .collect();
    for name in answered.lock().unwrap().iter() {
        assert!(found.contains(name), "{name} was answered and is lost");
    }
    server.shutdown().await;
}
