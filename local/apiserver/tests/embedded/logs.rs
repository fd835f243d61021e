//! Logs of containers.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use fermata_apiserver::{ApiServer, Options};
use futures::AsyncReadExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{DeleteParams, LogParams},
};
use serde_json::{Value, json};

use crate::{
    kubectl::Kubectl,
    requests::{PATIENCE, call},
    support::options,
};

struct Node {
    server: ApiServer,
    client: Client,
    dir: tempfile::TempDir,
    uid: String,
}

/// A server that reads the logs in a folder.
async fn reading(logs: &Path) -> ApiServer {
    let options = Options {
        logs_dir: logs.to_owned(),
        ..options()
    };
    ApiServer::start(options).await.unwrap()
}

impl Node {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = reading(dir.path()).await;
        let client = server.client("default");
        let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
        let (_, made) = call(&client, "POST", "/api/v1/namespaces/default/pods", pod).await;
        let uid = made["metadata"]["uid"].as_str().unwrap().to_owned();
        Self {
            server,
            client,
            dir,
            uid,
        }
    }

    async fn state(&self, restarts: u32, state: Value) {
        let status = json!({"status": {"containerStatuses": [{
            "name": "c", "restartCount": restarts, "state": state, "ready": false, "image": "i", "imageID": "",
        }]}});
        let (code, body) = call(
            &self.client,
            "PATCH",
            "/api/v1/namespaces/default/pods/p/status",
            status,
        )
        .await;
        assert_eq!(code, 200, "{body}");
    }

    fn path(&self, restarts: u32) -> PathBuf {
        self.dir
            .path()
            .join(format!("default_p_{}", self.uid))
            .join("c")
            .join(format!("{restarts}.log"))
    }

    fn write(&self, restarts: u32, lines: &[&str]) {
        let path = self.path(restarts);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        for line in lines {
            writeln!(file, "{line}").unwrap();
        }
    }

    fn api(&self) -> Api<Pod> {
        Api::default_namespaced(self.client.clone())
    }

    async fn logs(&self, params: LogParams) -> String {
        self.api().logs("p", &params).await.unwrap()
    }
}

const LINES: &[&str] = &[
    "2024-01-01T00:00:00.000000001Z stdout F one",
    "2024-01-01T00:00:01.000000001Z stderr F two",
    "2024-01-01T00:00:02.000000001Z stdout P thr",
    "2024-01-01T00:00:02.000000002Z stdout F ee",
];

#[tokio::test]
async fn lines_are_chosen_and_shown_as_asked() {
    let node = Node::new().await;
    let refused = node
        .api()
        .logs("p", &LogParams::default())
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("waiting to start: ContainerCreating"),
        "{refused}"
    );
    node.state(0, json!({"running": {}})).await;
    assert_eq!(
        node.logs(LogParams::default()).await,
        "",
        "nothing is written yet"
    );
    node.write(0, LINES);
    assert_eq!(node.logs(LogParams::default()).await, "one\ntwo\nthree\n");
    let tail = |tail_lines| LogParams {
        tail_lines: Some(tail_lines),
        ..LogParams::default()
    };
    assert_eq!(node.logs(tail(0)).await, "");
    assert_eq!(
        node.logs(tail(3)).await,
        "two\nthree\n",
        "parts of a line count as they are written"
    );
    assert_eq!(node.logs(tail(99)).await, "one\ntwo\nthree\n");
    let limit = LogParams {
        limit_bytes: Some(5),
        ..LogParams::default()
    };
    assert_eq!(node.logs(limit).await, "one\nt");
    let stamps = LogParams {
        timestamps: true,
        tail_lines: Some(3),
        ..LogParams::default()
    };
    assert_eq!(
        node.logs(stamps).await,
        "2024-01-01T00:00:01.000000001Z two\n2024-01-01T00:00:02.000000001Z three\n"
    );
    let since = LogParams {
        since_time: Some("2024-01-01T00:00:01Z".parse().unwrap()),
        ..LogParams::default()
    };
    assert_eq!(node.logs(since).await, "two\nthree\n");
    let since = LogParams {
        since_seconds: Some(60),
        ..LogParams::default()
    };
    assert_eq!(node.logs(since).await, "");
    for query in [
        "container=x",
        "tailLines=x",
        "sinceTime=x",
        "sinceTime=2024-01-01T00:00:00Z&sinceSeconds=1",
        "previous=true",
    ] {
        let path = format!("/api/v1/namespaces/default/pods/p/log?{query}");
        assert_eq!(
            call(&node.client, "GET", &path, Value::Null).await.0,
            400,
            "{query}"
        );
    }
    node.state(1, json!({"running": {}})).await;
    node.write(1, &["2024-01-01T00:01:00Z stdout F again"]);
    assert_eq!(node.logs(LogParams::default()).await, "again\n");
    let previous = LogParams {
        previous: true,
        ..LogParams::default()
    };
    assert_eq!(node.logs(previous.clone()).await, "one\ntwo\nthree\n");
    // Between two runs, and also before the first restart, the last run is what there is.
    node.state(1, json!({"waiting": {"reason": "CrashLoopBackOff"}}))
        .await;
    assert_eq!(node.logs(LogParams::default()).await, "again\n");
    assert_eq!(node.logs(previous).await, "again\n");
    node.server.shutdown().await;
}

#[tokio::test]
async fn a_log_is_followed_until_its_run_of_the_container_ends() {
    let node = Node::new().await;
    node.state(0, json!({"running": {}})).await;
    node.write(0, &LINES[..1]);
    let follow = LogParams {
        follow: true,
        ..LogParams::default()
    };
    let mut stream = Box::pin(node.api().log_stream("p", &follow).await.unwrap());
    let mut read = async |wanted: &str| {
        let mut buffer = vec![0; wanted.len()];
        let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut buffer));
        read.await.expect("the line").unwrap();
        assert_eq!(String::from_utf8(buffer).unwrap(), wanted);
    };
    read("one\n").await;
    node.write(0, &LINES[1..2]);
    read("two\n").await;
    node.write(0, &["2024-01-01T00:00:03Z stdout F last"]);
    node.state(0, json!({"terminated": {"exitCode": 0}})).await;
    read("last\n").await;
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("the end")
        .unwrap();
    assert!(rest.is_empty());

    // And until the pod is gone.
    node.state(1, json!({"running": {}})).await;
    let mut stream = Box::pin(node.api().log_stream("p", &follow).await.unwrap());
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        ..DeleteParams::default()
    };
    node.api().delete("p", &params).await.unwrap();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("the end")
        .unwrap();
    node.server.shutdown().await;
}

#[tokio::test]
async fn kubectl_waits_for_a_pod_and_follows_its_logs() {
    let dir = tempfile::tempdir().unwrap();
    let server = reading(dir.path()).await;
    let client = server.client("default");
    let kubectl = Kubectl::new(&server.kubeconfig(), "default");
    kubectl.run(&["run", "p", "--image=x"]).await;
    let path = "/api/v1/namespaces/default/pods/p";
    let (_, pod) = call(&client, "GET", path, Value::Null).await;
    let logs = dir.path().join(format!(
        "default_p_{}/p",
        pod["metadata"]["uid"].as_str().unwrap()
    ));
    std::fs::create_dir_all(&logs).unwrap();
    std::fs::write(logs.join("0.log"), "2024-01-01T00:00:00Z stdout F said\n").unwrap();
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "p", "restartCount": 0, "ready": true, "image": "x", "imageID": "", "state": {"running": {}}}]}});
    let until = ["wait", "--for=condition=Ready", "pod/p", "--timeout=20s"];
    let status = format!("{path}/status");
    let (_, waited) = tokio::join!(call(&client, "PATCH", &status, ready), kubectl.run(&until));
    assert!(waited.contains("condition met"), "{waited}");
    assert_eq!(kubectl.run(&["logs", "p"]).await, "said\n");
    let ended = json!({"status": {"containerStatuses": [{"name": "p", "restartCount": 0, "ready": false, "image": "x", "imageID": "",
        "state": {"terminated": {"exitCode": 0}}}]}});
    let follow = async {
        tokio::join!(
            kubectl.run(&["logs", "-f", "p"]),
            call(&client, "PATCH", &status, ended)
        )
    };
    let (text, _) = tokio::time::timeout(PATIENCE, follow).await.unwrap();
    assert_eq!(text, "said\n");
    let table = kubectl.run(&["get", "pods"]).await;
    assert!(
        table
            .lines()
            .nth(1)
            .unwrap()
            .split_whitespace()
            .take(3)
            .eq(["p", "0/1", "ExitCode:0"]),
        "{table}"
    );
    server.shutdown().await;
}
