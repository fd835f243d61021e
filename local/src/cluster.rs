//! One cluster: its parts, put together.

use std::{
    ffi::OsString,
    io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, symlink},
    path::{Path, PathBuf},
    sync::Arc,
};

use fermata_apiserver::{
    ApiServer, AttachRequest, Duplex, ExecRequest, Execution, Forwarding, StreamingRuntime,
};
use fermata_crds::names;
use fermata_node::{Containers, Controllers, Keep, Node};
use futures::future::BoxFuture;
use kube::Client;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How a [`Cluster`] runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the API listens; a loopback address.
    pub listen: SocketAddr,
    /// The folder for state, logs and the files of pods.
    pub data_dir: PathBuf,
    /// Keeps the objects in memory only.
    pub ephemeral: bool,
    /// The program, with its first arguments, that runs [`supervise`](crate::supervise).
    pub supervisor: Vec<OsString>,
    /// Programs that containers find by these names, before those of the machine's own `PATH`.
    pub programs: Vec<(String, PathBuf)>,
    /// The machine's own `PATH`.
    pub path: OsString,
    /// Where containers start that name no working directory.
    pub working_dir: PathBuf,
    /// Variables that containers see beside their own.
    pub env: Vec<(String, String)>,
}

/// Why the cluster cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder or link in the data directory cannot be made.
    #[error("cannot make {}; check the rights on it and the room on its disk, or choose another directory with --data", path.display())]
    Data {
        /// The folder or link.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The API endpoint cannot start.
    #[error("the API endpoint cannot start")]
    Api(#[from] fermata_apiserver::Error),
    /// The node cannot start.
    #[error("the node cannot start")]
    Node(#[from] fermata_node::NodeError),
}

/// A running cluster.
pub struct Cluster {
    api: ApiServer,
    stop: CancellationToken,
    controllers: JoinHandle<()>,
    node: JoinHandle<()>,
}

// === impl Cluster ===

impl Cluster {
    /// Starts the API, the controllers and the node. When this returns, Fermata's definitions are
    /// installed and no pod of an earlier run is left.
    ///
    /// # Errors
    ///
    /// When the port is taken, or the data directory cannot be used.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let dir = |name: &str| options.data_dir.join(name);
        make_private_dir(&options.data_dir)?;
        let bin = dir("bin");
        make_private_dir(&bin)?;
        for (name, program) in &options.programs {
            link(program, &bin.join(name))?;
        }
        let containers = Containers::default();
        let api = ApiServer::start(fermata_apiserver::Options {
            listen: options.listen,
            data_dir: (!options.ephemeral).then(|| dir("state")),
            logs_dir: dir("logs"),
            pki_dir: Some(dir("pki")),
            crds: fermata_crds::crd::all(),
            mutators: vec![Arc::new(fermata_node::admit)],
            streaming: Some(Arc::new(Streaming(containers.clone()))),
        })
        .await?;
        let client = api.client("default");
        let node = Node::new(
            client.clone(),
            containers,
            fermata_node::Options {
                pods_dir: dir("pods"),
                logs_dir: dir("logs"),
                supervisor: options.supervisor.clone(),
                path: joined(&bin, &options.path),
                working_dir: options.working_dir.clone(),
                env: options.env.clone(),
                keep: Some(Keep {
                    dir: dir("built"),
                    container: names::BUILD_CONTAINER.to_owned(),
                    volume: names::DEPENDENCIES_VOLUME.to_owned(),
                    annotation: names::BUILD_ANNOTATION.to_owned(),
                }),
            },
        );
        node.prepare().await?;
        let stop = CancellationToken::new();
        let controllers = tokio::spawn(Controllers::new(client).run(stop.clone()));
        let node = tokio::spawn(node.run(stop.clone()));
        Ok(Self {
            api,
            stop,
            controllers,
            node,
        })
    }

    /// A client that reaches the API within this process, without network and encryption.
    #[must_use]
    pub fn client(&self) -> Client {
        self.api.client("default")
    }

    /// A kubeconfig with credentials for everything. Whoever can read it owns the cluster.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        self.api.kubeconfig()
    }

    /// Where the API listens.
    #[must_use]
    pub fn api_address(&self) -> SocketAddr {
        self.api.address()
    }

    /// Ends the pods' processes, the controllers and then the API, with everything written to disk.
    pub async fn shutdown(self) {
        self.stop.cancel();
        for (name, task) in [("node", self.node), ("controllers", self.controllers)] {
            if let Err(error) = task.await {
                tracing::error!(
                    name,
                    error = &error as &dyn std::error::Error,
                    "a part of the cluster failed"
                );
            }
        }
        self.api.shutdown().await;
    }
}

/// How the API reaches into the node's containers.
struct Streaming(Containers);

impl StreamingRuntime for Streaming {
    fn exec(&self, request: &ExecRequest) -> Result<Execution, String> {
        let ExecRequest {
            pod,
            container,
            command,
            stdin,
            tty,
        } = request;
        let started = self.0.exec(pod, container, command, *stdin, *tty);
        started.map(execution).map_err(|error| error.to_string())
    }

    fn attach(&self, request: &AttachRequest) -> Result<Execution, String> {
        let AttachRequest {
            pod,
            container,
            stdin,
        } = request;
        let attached = self.0.attach(pod, container, *stdin);
        attached.map(execution).map_err(|error| error.to_string())
    }

    fn port_forward(&self, pod: &str) -> Result<Forwarding, String> {
        let way = self.0.forward(pod).map_err(|error| error.to_string())?;
        let ended = way.ended();
        let connect = Arc::new(move |port| {
            let way = way.clone();
            Box::pin(async move {
                let stream = way.connect(port).await.map_err(|error| error.to_string())?;
                Ok(Box::new(stream) as Box<dyn Duplex>)
            }) as BoxFuture<'static, _>
        });
        Ok(Forwarding { connect, ended })
    }
}

fn execution(execution: fermata_node::Execution) -> Execution {
    Execution {
        stdin: execution.stdin,
        stdout: execution.stdout,
        stderr: execution.stderr,
        resize: execution.resize,
        ended: execution.ended,
    }
}

/// Makes a folder that only this user can enter: there are secrets, logs and credentials in it. One that
/// is there already may be somebody's for other things too, and keeps its rights; those below it have their
/// own.
fn make_private_dir(path: &Path) -> Result<(), Error> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.map_err(|source| Error::Data {
        path: path.to_owned(),
        source,
    })
}

fn link(program: &Path, path: &Path) -> Result<(), Error> {
    // The program may have moved since the last time.
    let removed = match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    removed
        .and_then(|()| symlink(program, path))
        .map_err(|source| Error::Data {
            path: path.to_owned(),
            source,
        })
}

fn joined(first: &Path, rest: &OsString) -> OsString {
    let mut path = first.as_os_str().to_owned();
    if !rest.is_empty() {
        path.push(":");
        path.push(rest);
    }
    path
}
