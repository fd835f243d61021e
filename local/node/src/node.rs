//! The node: runs every pod that is assigned to it.

mod attach;
mod backoff;
mod build_cache;
mod container;
mod env;
mod events;
mod exec;
mod expand;
mod forward;
mod log;
mod mounts;
mod pod;
mod pod_state;
mod probe;
mod process;
mod status;
mod volumes;

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fs::Permissions,
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Node as NodeObject, NodeAddress, NodeCondition, NodeStatus, NodeSystemInfo, Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::{sync::watch, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use self::{build_cache::BuildCache, events::Events, pod::PodUpdate};
pub use self::{
    build_cache::Keep,
    exec::{Containers, Execution, NotExecuted},
    forward::{Forwarding, NotForwarded},
};
use crate::NODE_NAME;

/// The address of every pod.
const ADDRESS: &str = "127.0.0.1";

/// How long pods have to end when the node itself stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// How a [`Node`] runs pods.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the files of pods are: a folder each, removed with its pod.
    pub pods_dir: PathBuf,
    /// Where the logs are: `<namespace>_<pod>_<uid>/<container>/<restarts>.log`.
    pub logs_dir: PathBuf,
    /// The program, with its first arguments, that runs [`crate::supervise`].
    pub supervisor: Vec<OsString>,
    /// The `PATH` of containers, where their commands are looked up.
    pub path: OsString,
    /// Where containers start that name no working directory, and what relative commands are
    /// relative to.
    pub working_dir: PathBuf,
    /// Variables that containers see beside their own.
    pub env: Vec<(String, String)>,
    /// Which results of init containers are kept; none by default.
    pub keep: Option<Keep>,
}

/// Why the node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder of the node cannot be made.
    #[error("cannot make the folder {}; check the rights on it and the room on its disk", path.display())]
    Dir {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The API refused something the node needs.
    #[error("cannot {what}")]
    Api {
        /// What was tried.
        what: &'static str,
        /// What the API said.
        source: Box<kube::Error>,
    },
}

/// Runs pods as processes of this machine.
pub struct Node {
    shared: Arc<Shared>,
}

/// What every pod needs of its node.
struct Shared {
    client: Client,
    options: Options,
    events: Events,
    containers: Containers,
    /// What init containers have made.
    build_cache: Option<BuildCache>,
}

// === impl Node ===

impl Node {
    /// A node that has yet to be started. The running containers are among `containers` as long as they run.
    #[must_use]
    pub fn new(client: Client, containers: Containers, options: Options) -> Self {
        let events = Events::new(client.clone());
        let build_cache = options.keep.clone().map(BuildCache::new);
        Self {
            shared: Arc::new(Shared {
                client,
                options,
                events,
                containers,
                build_cache,
            }),
        }
    }

    /// Registers the node and clears away the pods of an earlier run, whose processes ended with
    /// it; their ReplicaSets replace them. Call it before anything can send requests to them.
    ///
    /// # Errors
    ///
    /// When a folder cannot be made or the API refuses the node.
    pub async fn prepare(&self) -> Result<(), Error> {
        let options = &self.shared.options;
        // What lies in there belongs to processes that have ended.
        if let Err(source) = std::fs::remove_dir_all(&options.pods_dir)
            && source.kind() != io::ErrorKind::NotFound
        {
            return Err(Error::Dir {
                path: options.pods_dir.clone(),
                source,
            });
        }
        let kept = options.keep.as_ref().map(|keep| &keep.dir);
        for path in [&options.pods_dir, &options.logs_dir]
            .into_iter()
            .chain(kept)
        {
            // Files of Secrets and what functions have said.
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(0o700)))
                .map_err(|source| Error::Dir {
                    path: path.clone(),
                    source,
                })?;
        }
        if let Some(kept) = &self.shared.build_cache {
            kept.prepare().map_err(|source| Error::Dir {
                path: kept.keep().dir.clone(),
                source,
            })?;
        }
        self.register().await?;
        self.clear().await
    }

    /// Runs pods until the shutdown; then ends their processes and returns.
    pub async fn run(self, shutdown: CancellationToken) {
        let config = watcher::Config::default().fields(&format!("spec.nodeName={NODE_NAME}"));
        let pods = watcher(Api::<Pod>::all(self.shared.client.clone()), config).default_backoff();
        let mut pods = std::pin::pin!(pods);
        let mut running = Running {
            shared: Arc::clone(&self.shared),
            pods: HashMap::new(),
            tasks: JoinSet::new(),
            listed: HashSet::new(),
        };
        let events = tokio::spawn(self.shared.events.clone().run(shutdown.clone()));
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                event = pods.next() => match event {
                    Some(Ok(event)) => running.apply(event),
                    Some(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "the watch of pods failed and is tried again"),
                    None => break,
                },
                Some(ended) = running.tasks.join_next() => match ended {
                    Ok(uid) => {
                        running.pods.remove(&uid);
                    }
                    Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "a pod's task failed"),
                },
            }
        }
        running.stop().await;
        let _ = events.await;
    }

    async fn register(&self) -> Result<(), Error> {
        let api = Api::<NodeObject>::all(self.shared.client.clone());
        let refused = |source| Error::Api {
            what: "register the node",
            source: Box::new(source),
        };
        let mut node = NodeObject::default();
        node.metadata.name = Some(NODE_NAME.to_owned());
        node.metadata.labels = Some(
            [
                ("kubernetes.io/hostname", NODE_NAME),
                ("kubernetes.io/os", "linux"),
                ("kubernetes.io/arch", std::env::consts::ARCH),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        );
        match api.create(&PostParams::default(), &node).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            result => result.map(drop).map_err(refused)?,
        }
        let now = Time(Timestamp::now());
        let ready = NodeCondition {
            type_: "Ready".into(),
            status: "True".into(),
            reason: Some("NodeReady".into()),
            message: Some("pods run as processes of this machine".into()),
            last_heartbeat_time: Some(now.clone()),
            last_transition_time: Some(now),
        };
        let address = |type_: &str, address: &str| NodeAddress {
            type_: type_.into(),
            address: address.into(),
        };
        let status = NodeStatus {
            conditions: Some(vec![ready]),
            addresses: Some(vec![
                address("InternalIP", ADDRESS),
                address("Hostname", NODE_NAME),
            ]),
            node_info: Some(NodeSystemInfo {
                architecture: std::env::consts::ARCH.into(),
                operating_system: std::env::consts::OS.into(),
                container_runtime_version: "processes".into(),
                kubelet_version: format!("fermata-{}", env!("CARGO_PKG_VERSION")),
                ..NodeSystemInfo::default()
            }),
            ..NodeStatus::default()
        };
        let patch = Patch::Merge(serde_json::json!({ "status": status }));
        api.patch_status(NODE_NAME, &PatchParams::default(), &patch)
            .await
            .map(drop)
            .map_err(refused)
    }

    async fn clear(&self) -> Result<(), Error> {
        let failed = |source| Error::Api {
            what: "clear away the pods of an earlier run",
            source: Box::new(source),
        };
        let api = Api::<Pod>::all(self.shared.client.clone());
        for pod in api.list(&ListParams::default()).await.map_err(failed)? {
            let owned = pod
                .owner_references()
                .iter()
                .any(|owner| owner.controller == Some(true));
            let ending = pod.metadata.deletion_timestamp.is_some();
            if owned || ending {
                self.shared.remove(&pod).await.map_err(failed)?;
            }
        }
        Ok(())
    }
}

// === impl Shared ===

impl Shared {
    /// Removes the object of a pod that has ended; another pod of the same name is left alone.
    async fn remove(&self, pod: &Pod) -> kube::Result<()> {
        let api = Api::<Pod>::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let preconditions = Some(Preconditions {
            uid: pod.uid(),
            resource_version: None,
        });
        let params = DeleteParams {
            preconditions,
            ..DeleteParams::default()
        }
        .grace_period(0);
        match api.delete(&pod.name_any(), &params).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            result => result.map(drop),
        }
    }
}

/// The pods that run now, a task each.
struct Running {
    shared: Arc<Shared>,
    pods: HashMap<String, watch::Sender<PodUpdate>>,
    tasks: JoinSet<String>,
    /// The pods seen in a list that is under way.
    listed: HashSet<String>,
}

// === impl Running ===

impl Running {
    fn apply(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => self.listed.clear(),
            watcher::Event::InitApply(pod) => {
                self.listed.extend(pod.uid());
                self.seen(pod);
            }
            watcher::Event::InitDone => {
                for (uid, pod) in &self.pods {
                    if !self.listed.contains(uid) {
                        pod.send_replace(PodUpdate::Gone);
                    }
                }
            }
            watcher::Event::Apply(pod) => self.seen(pod),
            watcher::Event::Delete(pod) => {
                if let Some(running) = pod.uid().and_then(|uid| self.pods.get(&uid)) {
                    running.send_replace(PodUpdate::Gone);
                }
            }
        }
    }

    fn seen(&mut self, pod: Pod) {
        let Some(uid) = pod.uid() else { return };
        let pod = Arc::new(pod);
        if let Some(running) = self.pods.get(&uid) {
            running.send_replace(PodUpdate::Pod(pod));
            return;
        }
        let (sender, seen) = watch::channel(PodUpdate::Pod(Arc::clone(&pod)));
        self.pods.insert(uid.clone(), sender);
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            pod::run(shared, pod, seen).await;
            uid
        });
    }

    /// Ends all pods; their objects stay, so that the next run brings them back.
    async fn stop(mut self) {
        for pod in self.pods.values() {
            pod.send_replace(PodUpdate::NodeStops);
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if time::timeout(SHUTDOWN_GRACE + Duration::from_secs(2), all)
            .await
            .is_err()
        {
            tracing::warn!("some pods did not end in time; their processes are killed");
        }
    }
}

/// The error with its causes, as one sentence.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
