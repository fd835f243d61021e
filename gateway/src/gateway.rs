//! The gateway as a whole: how its tasks are put together, started and stopped.

mod listener;
mod others;
mod shutdown;
mod tasks;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use fermata_daemon::{admin::Admin, watch::Places};
use fermata_listen::{Seats, files};
use kube::Client;
use tokio::{net::TcpListener, runtime::Handle, sync::Notify};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    activator::{
        cold_start,
        probe::{Job, Probes},
        wake::Activator,
    },
    admin::{
        metrics::{Metrics, Others, Page},
        pages::Pages,
    },
    backend::{registry::Registry, router::Router},
    cluster::{
        events::EventsQuery,
        index::{ClusterIndex, Unprobed},
        ownership::Ownership,
        peers::{Entrance, Peers},
        watch::{self, Health},
    },
    data_plane::DataPlane,
    error::Error,
    options::{ADMIN_PORT, Options},
    proxy::{
        context::{Limits, ProxyContext},
        events::EventsClient,
        owners::Owners,
        server::{Clocks, Server},
    },
    scale::{backlogs::BacklogClient, scaler::Scaler, stats::Counter, stats_client::StatsClient},
    trigger::{Timer, standing::Teller},
};

use listener::{Listener, bounds};
use shutdown::{ShutdownStages, Trackers, drain};
use tasks::Tasks;

/// Name of the Lease by which gateways agree on the one that scales.
const SCALE_LEASE: &str = "fermata-gateway";

/// Name of the Lease by which they agree on the one that calls functions at the times of their triggers. It is
/// another one, since a gateway that stops gives it up at once, but scales until its last request is over.
const TRIGGER_LEASE: &str = "fermata-gateway-triggers";

/// A gateway that has its ports and nothing else yet.
pub struct Gateway {
    client: Client,
    options: Options,
    data: Listener,
    internal: Listener,
    admin: Listener,
    owners: Owners,
    /// Metrics of others, shown beside its own.
    more_metrics: Option<prometheus::Registry>,
}

// === impl Gateway ===

impl Gateway {
    /// Takes the ports, and does nothing with them yet: connections wait until [`Gateway::run`].
    ///
    /// # Errors
    ///
    /// [`Error::Bind`] if a port cannot be had.
    pub async fn bind(client: Client, options: Options) -> Result<Self, Error> {
        let data = Listener::bind(options.listen, "requests", "--listen")?;
        let internal = Listener::bind(
            options.listen_internal,
            "requests from inside the cluster",
            "--listen-internal",
        )?;
        let admin = options.admin.listen(ADMIN_PORT).ok_or(Error::NoAdmin)?;
        let admin = Listener::bind(admin, "metrics and health", "--admin")?;
        Ok(Self {
            client,
            options,
            data,
            internal,
            admin,
            owners: Owners::default(),
            more_metrics: None,
        })
    }

    /// Lets these see and change the calls of functions whose callers do not wait. Without, nobody may.
    #[must_use]
    pub fn owned_by(self, owners: Owners) -> Self {
        Self { owners, ..self }
    }

    /// Shows these metrics beside its own.
    #[must_use]
    pub fn showing(self, metrics: prometheus::Registry) -> Self {
        Self {
            more_metrics: Some(metrics),
            ..self
        }
    }

    /// Where requests from everywhere are taken.
    #[must_use]
    pub fn data_address(&self) -> SocketAddr {
        self.data.address
    }

    /// Where requests from inside the cluster are taken.
    #[must_use]
    pub fn internal_address(&self) -> SocketAddr {
        self.internal.address
    }

    /// Where metrics and health are served.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address
    }

    /// Serves until `shutdown`, and then until the running requests are over or the drain timeout
    /// is: first `/readyz` fails and answers ask their clients to connect anew; after the shutdown
    /// delay no more connections are taken, idle ones are closed, and running requests, tunnels
    /// included, go on to their end.
    ///
    /// # Errors
    ///
    /// [`Error::Threads`] if it cannot begin, [`Error::TaskEnded`] if a part of it fails for good.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts everything off. Cancel `shutdown` instead.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let data_plane = DataPlane::start().map_err(Error::Threads)?;
        let (stages, trackers) = (ShutdownStages::default(), Trackers::default());
        let options = &self.options;
        let mut tasks = Tasks::default();

        let policy = options.claim_policy();
        let routes = Router::new(policy.domain(), policy.cluster_domain());
        let registry = Arc::new(Registry::new(routes));
        let places = Places::of(&options.watch_namespaces);
        let watch = watch::watches(self.client.clone(), places);
        let (metrics, health) = (Arc::<Metrics>::default(), Arc::new(Health::of(&watch)));
        let (rescale_now, counter) = (Arc::new(Notify::new()), Counter::new(registry.clone()));

        let index =
            ClusterIndex::new(registry.clone(), policy).with_own_paths(options.own_paths.clone());
        let probes = Probes {
            tasks: trackers.background.clone(),
            runtime: data_plane.handle().clone(),
            stop: stages.background.clone(),
        };
        let watches = watch::run(
            watch,
            index,
            health.clone(),
            move |Unprobed { revision, endpoint }| probes.begin(Job::new(revision, endpoint)),
            stages.background.clone(),
        );
        tasks.begin("watch of the cluster", watches);

        let (reporter, reports) = cold_start::Reporter::new();
        let reports = cold_start::write(self.client.clone(), reports, stages.background.clone());
        tasks.begin("reporting of cold starts", reports);

        let identity = self.identity();
        let peers = self.others(&identity, &mut tasks, &stages);
        let claim = |lease, title, stop, tasks: &mut Tasks| {
            self.claim(lease, &identity, title, stop, tasks)
        };
        let leader = claim(
            SCALE_LEASE,
            "election of the one that scales",
            stages.background.clone(),
            &mut tasks,
        );
        let calls = claim(
            TRIGGER_LEASE,
            "election of the one that calls at times",
            stages.serving.leave.clone(),
            &mut tasks,
        );
        let scaler = Scaler {
            registry: registry.clone(),
            health: health.clone(),
            counter: counter.clone(),
            stats_client: StatsClient::new(peers.clone(), self.admin.address.port()),
            backlogs: options.events.clone().map(BacklogClient::new),
            peers: peers.clone(),
            leader,
            metrics: metrics.clone(),
            rescale_now: rescale_now.clone(),
            client: self.client.clone(),
            tasks: trackers.background.clone(),
        };
        tasks.begin("autoscaler", scaler.run(stages.background.clone()));

        let ownership = Arc::new(Ownership::new(
            peers.clone(),
            registry.clone(),
            self.admin.address.port(),
            Handle::current(),
            trackers.background.clone(),
            stages.background.clone(),
        ));
        let page = Page::new(registry.clone(), metrics.clone(), health.clone());
        let metrics_registry = prometheus::Registry::new();
        metrics_registry
            .register(Box::new(page))
            .map_err(Error::Metrics)?;
        if let Some(more) = self.more_metrics {
            let more = Box::new(Others::new(more).map_err(Error::Metrics)?);
            metrics_registry.register(more).map_err(Error::Metrics)?;
        }
        let admin = Arc::new(Admin {
            registry: metrics_registry,
            routes: Pages {
                ownership: ownership.clone(),
                health: health.clone(),
                counter,
                stopping: AtomicBool::new(false),
            },
            hosts: options.admin.hosts.clone(),
        });
        let admin_server = admin.clone();
        let admin_server = admin_server.run(self.admin.socket, stages.background.clone());
        tasks.begin("admin listener", admin_server);

        let context = Arc::new(ProxyContext {
            activator: Activator::new(
                self.client.clone(),
                Handle::current(),
                trackers.background.clone(),
                stages.background.clone(),
                reporter,
                metrics.clone(),
                registry.clone(),
                rescale_now,
            ),
            registry: registry.clone(),
            peers: peers.clone(),
            ownership,
            events: options.events.clone().map(EventsClient::new),
            owners: self.owners,
            metrics,
            limits: Limits::of(options),
            tunnels: trackers.tunnels.clone(),
            leaving: AtomicBool::new(false),
            dismiss: stages.dismiss.clone(),
            abort: stages.abort.clone(),
        });
        let teller = Teller {
            registry: registry.clone(),
            health: health.clone(),
            leader: calls.clone(),
            client: self.client.clone(),
            events: options.events.clone().map(EventsQuery::new),
        };
        let timer = Timer {
            registry,
            health: health.clone(),
            peers: peers.clone(),
            has_peers: options.peer_selector.is_some(),
            leader: calls,
            client: self.client.clone(),
            context: context.clone(),
            events: options.events.clone().map(EventsQuery::new),
            runs: trackers.connections.clone(),
            runtime: data_plane.handle().clone(),
        };
        tasks.begin("calls at times", timer.run(stages.serving.leave.clone()));
        tasks.begin(
            "writing of what waits",
            teller.run(stages.serving.leave.clone()),
        );
        let clocks = Clocks {
            header: options.header_timeout.into(),
            idle: options.idle_timeout.into(),
        };
        if options.proxy_protocol && options.trusted_proxies.is_empty() {
            tracing::warn!(
                "--proxy-protocol changes nothing without --trusted-proxies: a PROXY header is taken \
                 from these only",
            );
        }
        let bounds = bounds(options, files::limit());
        let has_peers = options.peer_selector.is_some();
        let server =
            |entrance| Server::new(context.clone(), entrance, clocks, stages.serving.clone());
        let accepting = [
            (self.data.socket, server(Entrance::Public)),
            (self.internal.socket, server(Entrance::Internal)),
        ]
        .map(|(socket, server)| {
            // Each has places of its own: strangers keep no caller in the cluster out.
            let seats = Seats::new(bounds);
            data_plane.spawn(serve(
                server,
                socket,
                trackers.connections.clone(),
                seats,
                known(health.clone(), peers.clone(), has_peers),
            ))
        });
        tracing::info!(
            data = %self.data.address,
            internal = %self.internal.address,
            admin = %self.admin.address,
            "gateway listens"
        );

        let ended = tokio::select! {
            () = shutdown.cancelled() => None,
            name = tasks.ended() => Some(name),
        };
        let outcome = match ended {
            None => Ok(()),
            Some(name) => Err(Error::TaskEnded(name)),
        };
        admin.routes.stopping.store(true, Ordering::Relaxed);
        context.leaving.store(true, Ordering::Relaxed);
        stages.serving.leave.cancel();
        if outcome.is_ok() {
            tokio::time::sleep(self.options.shutdown_delay.into()).await;
        }
        drain(&stages, &trackers, self.options.drain_timeout.into()).await;
        for accepting in accepting {
            if !matches!(accepting.await, Ok(Ok(()))) {
                return Err(Error::TaskEnded("data listener"));
            }
        }
        stages.background.cancel();
        tasks.finish().await;
        trackers.background.close();
        trackers.background.wait().await;
        tracing::info!("gateway stopped");
        outcome
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Gateway")
            .field("data", &self.data)
            .field("internal", &self.internal)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

/// Waits until the functions, and the other gateways, are known.
async fn known(health: Arc<Health>, peers: Arc<Peers>, has_peers: bool) {
    health.synced().await;
    if has_peers {
        peers.listed().await;
    }
}

/// Takes connections once enough is known. Until then they wait to be accepted: nobody is told that a
/// function does not exist because the gateway has just begun.
async fn serve(
    server: Server,
    socket: TcpListener,
    connections: TaskTracker,
    seats: Seats,
    known: impl Future<Output = ()>,
) -> std::io::Result<()> {
    // Whoever drives a socket is decided by the runtime in which it is made.
    let socket = TcpListener::from_std(socket.into_std()?)?;
    tokio::select! {
        () = known => server.run(socket, connections, seats).await,
        () = server.stopped() => {}
    }
    Ok(())
}
