//! Puts the parts together and runs them.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use fermata_crds::{Function, Revision, Runtime, names};
use fermata_daemon::{
    admin::Admin,
    events,
    lease::{Claim, Elector},
    watch::{Key, Listed, Places, Watch, WatchEvent},
};
use futures::StreamExt as _;
use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, Service},
};
use kube::{Client, Resource, ResourceExt as _, runtime::events::Reporter};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info, info_span};

use crate::{
    admin::{Health, Ready},
    builds::Builds,
    cache::Change,
    cluster::{Cluster, Origin},
    context::Context,
    controller::Work,
    drift::Accepted,
    function,
    looks::Looks,
    metrics::{Controller, Metrics},
    observed,
    options::{ADMIN_PORT, Options},
    revision,
    sources::Sources,
    unreadable::{Kind, UnreadableObjects},
    writes::Writes,
};

/// Name of the Lease by which replicas agree on the one that works.
const LEASE: &str = "fermata-operator";

/// The operator: watches Functions and makes of them what the cluster runs.
///
/// Everything it knows of Kubernetes goes through the client it is given.
pub struct Operator {
    client: Client,
    options: Options,
}

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address of the admin server cannot be used.
    #[error("cannot listen on {address} for the admin server; choose another with --admin, or off")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The metrics cannot be shown.
    #[error("cannot show the metrics")]
    Metrics(#[source] prometheus::Error),
    /// A part ended that should not.
    #[error("a part of the operator broke down: {0}")]
    Broken(&'static str),
}

/// What a task of the operator ended with.
enum Ended {
    Controllers,
    Watch,
    Admin,
    Events,
    Unreadable,
    Lease,
}

// === impl Operator ===

impl Operator {
    /// An operator that will work through the client. It needs the rights that the Helm chart
    /// gives it.
    #[must_use]
    pub fn new(client: Client, options: Options) -> Self {
        Self { client, options }
    }

    /// Runs until the shutdown, and then until the reconciles that are running are finished.
    ///
    /// Waits for the CustomResourceDefinitions if they are not installed yet, for the API server
    /// if it cannot be reached, and with leader election for the Lease. When the Lease is lost nothing
    /// is written any more, until this replica has it again.
    ///
    /// # Errors
    ///
    /// When the admin address cannot be used.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops everything at once; what was being written may or may not be
    /// written. Starting again picks everything up.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let metrics = Arc::new(Metrics::new().map_err(Error::Metrics)?);
        let ready = Ready::default();
        let listener = match self.options.admin.listen(ADMIN_PORT) {
            None => None,
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .map_err(|source| Error::Admin { address, source })?,
            ),
        };
        let stop = shutdown.child_token();
        let mut tasks = JoinSet::new();
        if let Some(listener) = listener {
            let admin = Arc::new(Admin {
                registry: metrics.registry(),
                routes: Health(ready.clone()),
                hosts: self.options.admin.hosts.clone(),
            });
            let stop = stop.clone();
            tasks.spawn(async move {
                admin.run(listener, stop).await;
                Ended::Admin
            });
        }
        let claim = self.claim(&mut tasks, &stop);
        let context = self.context(&claim, &metrics, &mut tasks, &stop);
        let places = Places::of(&self.options.watch_namespaces);
        let listed = spawn_watches(&context, places, &mut tasks, &stop);
        tasks.spawn({
            let (context, claim, stop) = (context.clone(), claim.clone(), stop.clone());
            async move {
                let client = context.client.clone();
                context.unreadable.run(client, claim, &stop).await;
                Ended::Unreadable
            }
        });

        let work = {
            let (context, stop) = (context.clone(), stop.clone());
            async move {
                let listed = async {
                    listed.whole().await;
                    ready.store(true, Ordering::Relaxed);
                    info!("everything is listed");
                };
                if stop.run_until_cancelled(listed).await.is_some() {
                    lead(&context, claim, &stop).await;
                }
                Ended::Controllers
            }
        };
        tasks.spawn(work);
        let result = supervise(&mut tasks, &shutdown, &stop).await;
        metrics.leads(false);
        result
    }

    fn claim(&self, tasks: &mut JoinSet<Ended>, stop: &CancellationToken) -> Claim {
        if !self.options.leader_elect {
            return Claim::always();
        }
        let (elector, claim) = Elector::new(
            self.client.clone(),
            &self.options.lease_namespace,
            LEASE,
            self.options.identity(),
        );
        let stop = stop.clone();
        tasks.spawn(async move {
            elector.run(&stop).await;
            Ended::Lease
        });
        claim
    }

    fn context(
        &self,
        claim: &Claim,
        metrics: &Arc<Metrics>,
        tasks: &mut JoinSet<Ended>,
        stop: &CancellationToken,
    ) -> Arc<Context> {
        let reporter = Reporter {
            controller: names::OPERATOR_FIELD_MANAGER.to_owned(),
            instance: Some(self.options.identity()),
        };
        let (events, writer) = events::channel(
            self.client.clone(),
            reporter,
            claim.clone(),
            metrics.events(),
        );
        let stop = stop.clone();
        tasks.spawn(async move {
            writer.run(&stop).await;
            Ended::Events
        });
        Arc::new(Context {
            client: self.client.clone(),
            options: self.options.clone(),
            cluster: Arc::new(Cluster::new(self.options.claim_policy())),
            writes: Writes::new(self.client.clone(), claim.clone(), metrics.clone()),
            events,
            metrics: metrics.clone(),
            sources: Sources::default(),
            looks: Looks::default(),
            builds: Builds::default(),
            accepted: Accepted::default(),
            unreadable: UnreadableObjects::default(),
        })
    }
}

/// Waits for the end. The first part that ends takes the others with it.
async fn supervise(
    tasks: &mut JoinSet<Ended>,
    shutdown: &CancellationToken,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let mut result = Ok(());
    while let Some(joined) = tasks.join_next().await {
        let asked = shutdown.is_cancelled() || stop.is_cancelled();
        let error = match joined {
            Ok(_) if asked => None,
            Ok(Ended::Controllers) => Some(Error::Broken("the controllers")),
            Ok(Ended::Watch) => Some(Error::Broken("a watch")),
            Ok(Ended::Admin) => Some(Error::Broken("the admin server")),
            Ok(Ended::Events) => Some(Error::Broken("the events")),
            Ok(Ended::Unreadable) => Some(Error::Broken("the reports on unreadable objects")),
            Ok(Ended::Lease) => Some(Error::Broken("the election")),
            Err(error) if error.is_panic() => Some(Error::Broken("a task, by a panic")),
            Err(_) => None,
        };
        if let (Some(error), true) = (error, result.is_ok()) {
            result = Err(error);
        }
        stop.cancel();
    }
    result
}

/// Runs the controllers whenever this replica leads, until the stop.
async fn lead(context: &Arc<Context>, mut claim: Claim, stop: &CancellationToken) {
    while stop.run_until_cancelled(claim.held()).await.is_some() {
        context.metrics.leads(true);
        let term = stop.child_token();
        // Another may have changed everything since this replica led last.
        context.cluster.reconcile_all();
        let controllers = run_controllers(context.clone(), term.clone());
        let lost = async {
            claim.lost().await;
            context.metrics.leads(false);
            term.cancel();
            // What is running is finished, and refused its writes.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = controllers => {}
            () = lost => {}
        }
    }
}

async fn run_controllers(context: Arc<Context>, stop: CancellationToken) {
    let functions = Work {
        name: Controller::Function,
        store: context.cluster.functions.store(),
        queue: context.cluster.function_queue.clone(),
        context: context.clone(),
        backoff: Arc::default(),
        reconcile: |function, context| {
            Box::pin(async move { function::reconcile(function, &context).await })
        },
    };
    let revisions = Work {
        name: Controller::Revision,
        store: context.cluster.revisions.store(),
        queue: context.cluster.revision_queue.clone(),
        context,
        backoff: Arc::default(),
        reconcile: |revision, context| {
            Box::pin(async move { revision::reconcile(revision, &context).await })
        },
    };
    tokio::join!(functions.run(stop.clone()), revisions.run(stop));
}

/// Begins the watches, and says which lists are whole.
fn spawn_watches(
    context: &Arc<Context>,
    places: Places,
    tasks: &mut JoinSet<Ended>,
    stop: &CancellationToken,
) -> Arc<Listed> {
    let mut kinds = vec![
        "Function",
        "Revision",
        "Deployment",
        "Pod",
        "Service",
        "ConfigMap",
    ];
    // Where nothing is built into images, no right on Jobs is needed, nor is there anything to watch.
    let builds = context.options.builds.registry.is_some();
    kinds.extend(builds.then_some("Job"));
    let watch = Watch::new(context.client.clone(), places, &kinds).with_cluster_kind("Runtime");
    let all = fermata_daemon::watch::all();
    let ours = all.clone().labels(names::FUNCTION_LABEL);
    let mut spawn = |work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>, kind| {
        let stop = stop.clone();
        let work = async move {
            stop.run_until_cancelled(work).await;
            Ended::Watch
        };
        tasks.spawn(work.instrument(info_span!("watch", kind)));
    };
    /// A watch that reduces what it sees, and tells one cache.
    macro_rules! watch {
        ($kind:ident, $events:expr, $unreadable:expr, $cache:ident, $reduce:expr, $changed:expr) => {{
            let (context, watch, events) = (context.clone(), watch.clone(), $events);
            let work = async move {
                let mut events = std::pin::pin!(events);
                while let Some(told) = events.next().await {
                    watch.hand(told, |told| {
                        context.metrics.told(stringify!($kind), &told);
                        if let Some(kind) = $unreadable {
                            note(&context.unreadable, kind, &told);
                        }
                        let changes = context.cluster.$cache.observe(told.map($reduce));
                        let changed: fn(&Context, &Change<_>) = $changed;
                        for change in changes {
                            changed(&context, &change);
                        }
                    });
                }
            };
            spawn(Box::pin(work), stringify!($kind));
        }};
    }
    watch!(
        Function,
        watch.objects::<Function>(&all),
        Some(Kind::Function),
        functions,
        without_managers,
        |context, change| {
            if let (None, Some(gone)) = (&change.new, &change.old) {
                context.sources.forget(&Key::of(&**gone));
                context.looks.free(&Key::of(&**gone));
            }
            context.cluster.function_changed(change, Origin::Watch);
        }
    );
    watch!(
        Revision,
        watch.objects::<Revision>(&all),
        Some(Kind::Revision),
        revisions,
        without_managers,
        |context, change| {
            if let (None, Some(gone)) = (&change.new, &change.old) {
                context.accepted.forget(&Key::of(&**gone));
                context.builds.free(&Key::of(&**gone));
            }
            context.cluster.revision_changed(change, Origin::Watch);
        }
    );
    watch!(
        Runtime,
        watch.cluster_objects::<Runtime>(&all),
        None,
        runtimes,
        without_managers,
        |context, change| {
            context.cluster.runtime_changed(change);
        }
    );
    watch!(
        Deployment,
        watch.objects::<Deployment>(&ours),
        None,
        deployments,
        observed::deployment::observe,
        |context, change| {
            context.cluster.deployment_changed(change);
        }
    );
    watch!(
        Pod,
        watch.objects::<Pod>(&ours),
        None,
        pods,
        observed::pod::observe,
        |context, change| {
            context.cluster.pod_changed(change);
        }
    );
    watch!(
        Service,
        watch.objects::<Service>(&all),
        None,
        services,
        observed::service::observe,
        |context, change| {
            context.cluster.service_changed(change);
        }
    );
    watch!(
        ConfigMap,
        watch.metadata::<ConfigMap>(&all),
        None,
        config_maps,
        observed::config_map::observe,
        |context, change| {
            context.cluster.config_map_changed(change);
        }
    );
    if builds {
        let of_builds = all.clone().labels(names::IMAGE_BUILD_LABEL);
        watch!(
            Job,
            watch.objects::<Job>(&of_builds),
            None,
            jobs,
            observed::job::observe,
            |context, change| {
                context.cluster.job_changed(change);
            }
        );
    }
    watch.listed().clone()
}

/// Keeps account of the objects that cannot be read.
fn note<K: Resource>(unreadable: &UnreadableObjects, kind: Kind, told: &WatchEvent<K>) {
    match told {
        WatchEvent::Unreadable(object) => unreadable.note(kind, object),
        WatchEvent::Gone { key, .. } => unreadable.forget(kind, key),
        WatchEvent::There { object, .. } => unreadable.forget(kind, &Key::of(object)),
        WatchEvent::Listed(names) => unreadable.keep(kind, names),
        WatchEvent::Broke => {}
    }
}

/// Who set which field of Fermata's own objects is never looked at.
fn without_managers<K: Resource>(mut object: K) -> K {
    object.managed_fields_mut().clear();
    object
}
