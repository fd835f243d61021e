//! Starting and stopping the server.

use std::{
    fmt,
    fs::Permissions,
    io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api as KubeApi, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Mutex, Semaphore},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    StreamingRuntime,
    api::{Api, Mutator},
    background,
    handlers::{exec, forward},
    kinds::namespace,
    resource::registry::Registry,
    server::{
        client::InProcess,
        kubeconfig, listener,
        pki::{self, Pki, PkiError},
    },
    store::{OpenError, Store},
    write::definitions::{self, DEFINITIONS},
};

/// What a server is started with.
#[derive(Clone)]
pub struct Options {
    /// Where to listen. Port 0 takes any free port. Default: 127.0.0.1:6440.
    pub listen: SocketAddr,
    /// Where objects are kept, in the file `state.redb`. Default: none, they are gone with the
    /// process.
    pub data_dir: Option<PathBuf>,
    /// Where the node writes the logs of containers:
    /// `<namespace>_<pod>_<uid>/<container>/<restarts>.log`, in the CRI format. Default: `logs`.
    pub logs_dir: PathBuf,
    /// Where the certificate authority is kept. Default: none, it is made anew and forgotten.
    pub pki_dir: Option<PathBuf>,
    /// Definitions that are installed, or brought up to date, at the start. Default: none.
    pub crds: Vec<CustomResourceDefinition>,
    /// What changes pods on their creation, in this order. Default: nothing.
    pub mutators: Vec<Mutator>,
    /// What runs commands in containers, listens to them and knows the way to their ports. Default: nothing, and
    /// `exec`, `attach` and `portforward` are not served.
    pub streaming: Option<Arc<dyn StreamingRuntime>>,
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another program listens on the address.
    #[error(
        "{address} is in use by another program; stop it, or choose another address for the API"
    )]
    AddressInUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The address is reachable from other machines.
    #[error(
        "the API listens on loopback only, not on {address}; choose an address such as 127.0.0.1:6440"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The data directory cannot be made.
    #[error("cannot make the directory {}; check that its parent is writable by you", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The objects cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// There are no certificates.
    #[error("cannot set up the certificates of the API")]
    Pki(#[from] PkiError),
    /// A stored definition cannot be served any longer.
    #[error(
        "the stored definition {name} cannot be served: {why}; use the version of the program that stored it, or an empty data directory"
    )]
    StoredDefinition {
        /// The name of the definition.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// What every cluster has could not be put into the store.
    #[error("cannot put {what} into the store")]
    Seed {
        /// What it was.
        what: String,
        /// The server's own refusal.
        source: Box<kube::Error>,
    },
}

/// A running server. Dropping it stops it without waiting; see [`ApiServer::shutdown`].
pub struct ApiServer {
    api: Arc<Api>,
    address: SocketAddr,
    pki: Pki,
    tasks: Vec<JoinHandle<()>>,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 6440)),
            data_dir: None,
            logs_dir: PathBuf::from("logs"),
            pki_dir: None,
            crds: Vec::new(),
            mutators: Vec::new(),
            streaming: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .field("data_dir", &self.data_dir)
            .field("logs_dir", &self.logs_dir)
            .field("pki_dir", &self.pki_dir)
            .field("crds", &self.crds.len())
            .field("mutators", &self.mutators.len())
            .field("streaming", &self.streaming.is_some())
            .finish()
    }
}

// === impl ApiServer ===

impl ApiServer {
    /// Opens the store, binds the port, and serves.
    ///
    /// # Errors
    ///
    /// When the port or the store is taken, or the store or the certificates are damaged. Nothing
    /// is deleted in any case.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let listener = bind(options.listen).await?;
        let address = listener.local_addr().map_err(|source| Error::Listen {
            address: options.listen,
            source,
        })?;
        let pki = Pki::new(options.pki_dir.as_deref())?;
        let tls = pki.server_config()?;
        let tokens = pki::signer(options.pki_dir.as_deref())?;
        let store = open(options.data_dir.as_deref())?;
        let api = Arc::new(Api {
            store,
            registry: ArcSwap::from_pointee(Registry::builtin()),
            definitions: Mutex::new(()),
            mutators: options.mutators,
            logs_dir: options.logs_dir,
            tokens,
            streaming: options.streaming,
            executions: Arc::new(Semaphore::new(exec::most())),
            forwards: Arc::new(Semaphore::new(forward::most_clients())),
            forwarded: Arc::new(Semaphore::new(forward::most_connections())),
            sessions: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        });
        let mut server = Self {
            api: Arc::clone(&api),
            address,
            pki,
            tasks: Vec::new(),
        };
        serve_stored(&api)?;
        if let Err(error) = server.seed(&options.crds).await {
            server.shutdown().await;
            return Err(error);
        }
        server
            .tasks
            .push(tokio::spawn(background::run(Arc::clone(&api))));
        server
            .tasks
            .push(tokio::spawn(listener::serve(api, listener, tls)));
        tracing::info!(address = %address, "the API is served");
        Ok(server)
    }

    /// A client that reaches the server without a connection.
    #[must_use]
    pub fn client(&self, default_namespace: &str) -> Client {
        Client::new(InProcess(Arc::clone(&self.api)), default_namespace)
    }

    /// A kubeconfig, as YAML, with the address and the credentials. Keep it to yourself.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        kubeconfig::kubeconfig(self.address, &self.pki)
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends watches, lets other requests finish for a few seconds, and closes the store.
    pub async fn shutdown(mut self) {
        self.api.shutdown.cancel();
        for task in self.tasks.drain(..) {
            if let Err(error) = task.await {
                tracing::error!(error = %error, "a task of the API failed");
            }
        }
        // They end with the shutdown by themselves.
        self.api.sessions.close();
        self.api.sessions.wait().await;
        self.api.store.close().await;
    }

    /// Puts into the store what every cluster has, and the definitions.
    async fn seed(&self, crds: &[CustomResourceDefinition]) -> Result<(), Error> {
        let client = self.client("default");
        let refuse = |what: &str| {
            let what = what.to_owned();
            move |source| Error::Seed {
                what,
                source: Box::new(source),
            }
        };
        let namespaces: KubeApi<k8s_openapi::api::core::v1::Namespace> =
            KubeApi::all(client.clone());
        for name in namespace::INITIAL {
            if namespaces
                .get_opt(name)
                .await
                .map_err(refuse(name))?
                .is_none()
            {
                let new = k8s_openapi::api::core::v1::Namespace {
                    metadata: kube::api::ObjectMeta {
                        name: Some((*name).to_owned()),
                        ..Default::default()
                    },
                    ..Default::default()
                };
                namespaces
                    .create(&kube::api::PostParams::default(), &new)
                    .await
                    .map_err(refuse(name))?;
            }
        }
        let definitions: KubeApi<CustomResourceDefinition> = KubeApi::all(client);
        let params = PatchParams::apply(MANAGER).force();
        for definition in crds {
            let name = definition.metadata.name.clone().unwrap_or_default();
            let apply = json!({
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {
                    "name": name,
                    "labels": definition.metadata.labels,
                    "annotations": definition.metadata.annotations,
                },
                "spec": definition.spec,
            });
            definitions
                .patch(&name, &params, &Patch::Apply(apply))
                .await
                .map_err(refuse(&name))?;
        }
        Ok(())
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.api.shutdown.cancel();
        self.api.store.abandon();
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The field manager of what the server puts into the store itself.
const MANAGER: &str = "fermata-apiserver";

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    if !address.ip().is_loopback() {
        return Err(Error::NotLoopback { address });
    }
    TcpListener::bind(address).await.map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            Error::AddressInUse { address }
        } else {
            Error::Listen { address, source }
        }
    })
}

fn open(dir: Option<&Path>) -> Result<Store, Error> {
    let Some(dir) = dir else {
        return Ok(Store::ephemeral());
    };
    let file = dir.join("state.redb");
    private(dir, &file).map_err(|source| Error::Directory {
        path: dir.to_owned(),
        source,
    })?;
    Ok(Store::open(&file)?)
}

/// Makes the folder of the state and its file, or takes them from everybody but this user if they are
/// there: Secrets are in them.
fn private(dir: &Path, file: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(file)?;
    file.set_permissions(Permissions::from_mode(0o600))
}

/// Serves what the stored definitions define.
fn serve_stored(api: &Api) -> Result<(), Error> {
    let stored: Vec<(String, Value)> = api.store.view(|state| {
        state
            .scan(DEFINITIONS, None)
            .map(|(key, definition)| (key.name.clone(), Value::clone(&definition.value())))
            .collect()
    });
    for (name, definition) in stored {
        definitions::serve(api, &name, Some(&definition)).map_err(|failure| {
            Error::StoredDefinition {
                name,
                why: failure.message,
            }
        })?;
    }
    Ok(())
}
