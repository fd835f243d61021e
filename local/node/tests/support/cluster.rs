//! A cluster for tests: an API server, the controllers and a node.

use std::{ffi::OsString, path::Path, sync::Arc, time::Duration};

use fermata_apiserver::ApiServer;
use fermata_node::{Containers, Controllers, Keep, Node, Options};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, LogParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time};
use tokio_util::sync::CancellationToken;

/// How long a test waits for what should come soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster with its node and controllers.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) dir: TempDir,
    pub(crate) stop: CancellationToken,
    pub(crate) node: JoinHandle<()>,
    pub(crate) containers: Containers,
    _api: ApiServer,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let api = ApiServer::start(fermata_apiserver::Options {
            listen: ([127, 0, 0, 1], 0).into(),
            logs_dir: dir.path().join("logs"),
            mutators: vec![Arc::new(fermata_node::admit)],
            ..fermata_apiserver::Options::default()
        })
        .await
        .unwrap();
        let client = api.client("default");
        let containers = Containers::default();
        let (node, stop) = node(&client, containers.clone(), dir.path()).await;
        tokio::spawn(Controllers::new(client.clone()).run(stop.clone()));
        Self {
            client,
            dir,
            stop,
            node,
            containers,
            _api: api,
        }
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    pub(crate) async fn list<K>(&self) -> Vec<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let listed = self.api::<K>().list(&ListParams::default()).await;
        listed.unwrap().items
    }

    /// Deletes a pod, and waits until it is gone.
    pub(crate) async fn delete_pod(&self, name: &str) {
        let pods = self.api::<Pod>();
        pods.delete(name, &DeleteParams::default()).await.unwrap();
        eventually("the pod is gone", async || {
            match pods.get_opt(name).await.unwrap() {
                None => Ok(()),
                Some(pod) => Err(format!("{:?}", pod.metadata.deletion_timestamp)),
            }
        })
        .await;
    }

    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + serde::Serialize
            + std::fmt::Debug,
    {
        let object = serde_json::from_value(object).unwrap();
        self.api::<K>()
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    /// Creates a pod with one container that runs a script.
    pub(crate) async fn run(&self, name: &str, script: &str, more: Value) {
        let mut container = json!({"name": "main", "image": "x", "command": ["sh", "-c", script]});
        container
            .as_object_mut()
            .unwrap()
            .extend(more["container"].as_object().cloned().unwrap_or_default());
        let mut spec = json!({"containers": [container], "terminationGracePeriodSeconds": 2});
        spec.as_object_mut()
            .unwrap()
            .extend(more["spec"].as_object().cloned().unwrap_or_default());
        self.create::<Pod>(json!({"metadata": {"name": name}, "spec": spec}))
            .await;
    }

    pub(crate) async fn pod(&self, name: &str) -> Pod {
        self.api::<Pod>().get(name).await.unwrap()
    }

    pub(crate) async fn log(&self, name: &str) -> String {
        self.api::<Pod>()
            .logs(name, &LogParams::default())
            .await
            .unwrap_or_default()
    }

    /// Waits until the log of a pod has this line.
    pub(crate) async fn says(&self, name: &str, line: &str) {
        eventually(line, async || {
            let log = self.log(name).await;
            if log.lines().any(|own| own == line) {
                Ok(())
            } else {
                Err(log)
            }
        })
        .await;
    }
}

pub(crate) async fn node(
    client: &Client,
    containers: Containers,
    dir: &Path,
) -> (JoinHandle<()>, CancellationToken) {
    let node = Node::new(
        client.clone(),
        containers,
        Options {
            pods_dir: dir.join("pods"),
            logs_dir: dir.join("logs"),
            supervisor: vec![OsString::from(env!("CARGO_BIN_EXE_fermata-container"))],
            path: std::env::var_os("PATH").unwrap(),
            working_dir: dir.to_owned(),
            env: vec![("HOME".into(), "/home/somebody".into())],
            keep: Some(Keep {
                dir: dir.join("built"),
                container: "build".into(),
                volume: "made".into(),
                annotation: "example.com/build".into(),
            }),
        },
    );
    node.prepare().await.unwrap();
    let stop = CancellationToken::new();
    (tokio::spawn(node.run(stop.clone())), stop)
}

pub(crate) async fn eventually<T>(
    what: &str,
    mut check: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let deadline = time::Instant::now() + PATIENCE;
    loop {
        match check().await {
            Ok(value) => return value,
            Err(why) if time::Instant::now() > deadline => panic!("{what}: {why}"),
            Err(_) => time::sleep(Duration::from_millis(20)).await,
        }
    }
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

pub(crate) fn state(pod: &Pod) -> Value {
    let status = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref()?.first().cloned());
    serde_json::to_value(status).unwrap()
}
