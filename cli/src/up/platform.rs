//! The parts of `fermata up`, started in order and stopped in the opposite one.

use std::{
    ffi::OsString,
    fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::Context as _;
use fermata_daemon::admin::AdminOptions;
use fermata_events::Events;
use fermata_gateway::{AccessLog, Bound, ErrorDetails, Gateway};
use fermata_listen::files::{OpenFiles, share};
use fermata_local::Cluster;
use fermata_operator::Operator;
use http::uri::Authority;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DynamicObject, Patch, PatchParams},
    discovery,
};
use serde_json::json;
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{Options, owner};
use crate::{CONTAINER_COMMAND, git};

/// What containers see of this process's own environment; anything more could be a secret.
const PASSED_ON: [&str; 6] = ["HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// The most connections to the gateway.
const MOST_CONNECTIONS: usize = 65_536;

/// The running platform.
pub(crate) struct Platform {
    cluster: Cluster,
    pub(super) gateway: SocketAddr,
    pub(super) internal: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) kubeconfig: PathBuf,
    /// Whether `git push` works.
    pub(super) pushes: git::Offer,
    events: Part<fermata_events::Error>,
    operator: Part<fermata_operator::Error>,
    proxy: Part<fermata_gateway::Error>,
    /// Settles the pushes that were broken off, if any are taken.
    settling: Option<AbortOnDropHandle<()>>,
}

/// A part that runs as a task until it is told to stop.
struct Part<E> {
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
    failure: std::sync::Arc<Failure<E>>,
}

struct Failure<E> {
    error: Mutex<Option<E>>,
    told: Notify,
}

// === impl Platform ===

impl Platform {
    pub(super) async fn start(options: &Options, files: OpenFiles) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program cannot find itself")?;
        let cluster = Cluster::start(fermata_local::Options {
            listen: options.api,
            data_dir: absolute(&options.data)?,
            ephemeral: options.ephemeral,
            supervisor: vec![
                program.clone().into(),
                OsString::from(CONTAINER_COMMAND),
                fermata_local::open_files_argument(files.inherited),
            ],
            programs: vec![
                ("fermata-invoker".to_owned(), program.clone()),
                ("fermata".to_owned(), program),
            ],
            path: std::env::var_os("PATH").unwrap_or_default(),
            working_dir: std::env::current_dir().context("the current directory is gone")?,
            env: PASSED_ON
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
                .collect(),
        })
        .await
        .with_context(|| {
            format!(
                "cannot start the cluster (--api {}, --data {})",
                options.api,
                options.data.display()
            )
        })?;
        let kubeconfig = options.data.join("kubeconfig");
        write_private(&kubeconfig, &cluster.kubeconfig())?;
        // State and credentials are no part of a repository, and no functions.
        write_private(&options.data.join(".gitignore"), "*\n")?;
        let client = cluster.client();
        apply_runtimes(&client).await?;

        let events = Events::bind(fermata_events::Options {
            store: absolute(&options.data)?.join("events").join("calls.redb"),
            ephemeral: options.ephemeral,
            callback_allow: options.callback_allow.clone(),
            // As long as the gateway lets requests go on; those that only wait it sends away.
            drain_timeout: fermata_gateway::Options::default().drain_timeout,
            ..fermata_events::Options::default()
        })
        .await
        .context("cannot keep asynchronous calls")?;
        let kept_at = authority(events.address())?;

        let gateway = Gateway::bind(
            client.clone(),
            fermata_gateway::Options {
                listen: options.listen,
                listen_internal: options.listen_internal,
                admin: AdminOptions::at(options.admin),
                domain: options.domain.clone(),
                own_paths: git::own_paths(),
                events: Some(kept_at),
                leader_elect: false,
                // Whoever calls here also runs it.
                error_details: ErrorDetails::Full,
                access_log: if options.shows_requests() {
                    AccessLog::Json
                } else {
                    AccessLog::Off
                },
                // Each request has a second connection, to its function; and the API, the functions'
                // logs and the state need files too.
                max_connections: Bound::of(share(files.limit, 4, MOST_CONNECTIONS)),
                ..fermata_gateway::Options::default()
            },
        )
        .await
        .with_context(|| {
            format!(
                "cannot start the gateway (--listen {}, --listen-internal {}, --admin {})",
                options.listen, options.listen_internal, options.admin
            )
        })?;
        let (address, admin) = (gateway.data_address(), gateway.admin_address());
        let gateway = gateway.showing(events.metrics());
        let internal = gateway.internal_address();
        let events = events.through(authority(reachable(internal))?);
        let (data, own_kubeconfig) = (absolute(&options.data)?, absolute(&kubeconfig)?);
        let url = format!("http://{}", reachable(address));
        git::make_webhooks(&client, &own_kubeconfig).await?;
        let gateway = gateway.owned_by(owner::make(&client, &url).await?);
        let pushes = git::Offer::make(
            &client,
            &data,
            &own_kubeconfig,
            address,
            &url,
            options.ephemeral,
        )
        .await?;
        // Before anybody can push.
        let settle = (pushes == git::Offer::Taken).then(|| git::settle(&data, &own_kubeconfig));
        let operator = Operator::new(
            client,
            fermata_operator::Options {
                domain: options.domain.clone(),
                url_port: Some(address.port()),
                internal_url_port: Some(internal.port()),
                gateway_url: Some(format!("http://{}", reachable(internal))),
                events: true,
                keeps_builds: true,
                // Builds are behind the same proxy as this process.
                proxy: fermata_operator::Proxy::of_environment(|name| std::env::var(name).ok()),
                git_address: Some((git::IN_CLUSTER.to_owned(), url)),
                ..fermata_operator::Options::default()
            },
        );
        Ok(Self {
            cluster,
            gateway: address,
            internal,
            admin,
            kubeconfig,
            pushes,
            events: Part::start(|stop| events.run(stop)),
            operator: Part::start(|stop| operator.run(stop)),
            proxy: Part::start(|stop| gateway.run(stop)),
            // By the gateway, which takes requests from here on.
            settling: settle.map(|settle| AbortOnDropHandle::new(tokio::spawn(settle))),
        })
    }

    pub(super) fn client(&self) -> Client {
        self.cluster.client()
    }

    pub(super) fn api(&self) -> SocketAddr {
        self.cluster.api_address()
    }

    /// Ends when a part has failed, with its reason.
    pub(super) async fn failed(&self) -> anyhow::Result<()> {
        tokio::select! {
            error = self.events.failed() => Err(error).context("the keeping of asynchronous calls failed"),
            error = self.operator.failed() => Err(error).context("the operator failed"),
            error = self.proxy.failed() => Err(error).context("the gateway failed"),
        }
    }

    /// Stops the gateway, and what calls through it, first, so that running requests finish while everything else still
    /// works.
    pub(super) async fn shutdown(self) {
        drop(self.settling);
        tokio::join!(self.events.shutdown(), self.proxy.shutdown());
        self.operator.shutdown().await;
        self.cluster.shutdown().await;
    }
}

// === impl Part ===

impl<E: std::error::Error + Send + Sync + 'static> Part<E> {
    fn start<F>(run: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let failure = std::sync::Arc::new(Failure {
            error: Mutex::new(None),
            told: Notify::new(),
        });
        let (running, report) = (run(stop.clone()), std::sync::Arc::clone(&failure));
        let task = tokio::spawn(async move {
            if let Err(error) = running.await {
                if let Ok(mut place) = report.error.lock() {
                    *place = Some(error);
                }
                report.told.notify_one();
            }
        });
        Self {
            stop,
            task: Mutex::new(Some(task)),
            failure,
        }
    }

    async fn failed(&self) -> E {
        loop {
            self.failure.told.notified().await;
            if let Some(error) = self
                .failure
                .error
                .lock()
                .ok()
                .and_then(|mut place| place.take())
            {
                return error;
            }
        }
    }

    async fn shutdown(&self) {
        self.stop.cancel();
        let task = self.task.lock().ok().and_then(|mut task| task.take());
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a part of the platform failed"
            );
        }
    }
}

/// Installs the Runtimes that come with Fermata.
async fn apply_runtimes(client: &Client) -> anyhow::Result<()> {
    for (name, text) in fermata_invoker::RUNTIMES {
        let mut runtime: DynamicObject = serde_saphyr::from_str(text)
            .with_context(|| format!("the Runtime {name} is not valid"))?;
        if *name == "python" {
            // This machine's packages are not in the Runtime's image.
            runtime.data["spec"]["env"] =
                json!([{ "name": "FERMATA_SITE_PACKAGES", "value": "warn" }]);
        }
        let kind = runtime
            .types
            .clone()
            .unwrap_or_default()
            .try_into()
            .with_context(|| format!("the Runtime {name} has no kind"))?;
        let (resource, _) = discovery::pinned_kind(client, &kind)
            .await
            .context("the Runtimes' definition is not installed")?;
        Api::<DynamicObject>::all_with(client.clone(), &resource)
            .patch(
                &runtime.name_any(),
                &PatchParams::apply("fermata").force(),
                &Patch::Apply(&runtime),
            )
            .await
            .with_context(|| format!("the Runtime {name} cannot be installed"))?;
    }
    Ok(())
}

/// The address at which this machine reaches a listener; one that listens everywhere has no address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Host and port, as a URL has them.
fn authority(address: SocketAddr) -> anyhow::Result<Authority> {
    let authority = Authority::try_from(address.to_string());
    authority.with_context(|| format!("{address} is no usable address"))
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is no usable path", path.display()))
}

/// Writes a file that only this user can read, in one step.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = path.with_added_extension("new");
    let written = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&new, path));
    written.with_context(|| format!("cannot write {}", path.display()))
}
