//! A gateway and its cluster.

use std::{net::SocketAddr, time::Duration};

use fermata_daemon::admin::AdminOptions;
use fermata_gateway::{Error, ErrorDetails, Gateway, Options, Owners};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Answer, Cluster, FunctionSpec, client::until, get};

/// A running gateway, in front of a cluster.
pub(crate) struct Harness {
    pub(crate) cluster: Cluster,
    pub(crate) data: SocketAddr,
    pub(crate) internal: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) gateway: Option<JoinHandle<Result<(), Error>>>,
    everything: CancellationToken,
}

impl Harness {
    /// A gateway with the default settings, in front of these functions.
    pub(crate) async fn with(functions: &[FunctionSpec]) -> Self {
        Self::with_options(functions, |_| {}).await
    }

    /// A gateway with other settings.
    pub(crate) async fn with_options(
        functions: &[FunctionSpec],
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let everything = CancellationToken::new();
        let cluster = Cluster::start(everything.clone());
        for function in functions {
            cluster.add(function);
        }
        Self::in_front_of(cluster, everything, change, Owners::default()).await
    }

    /// A gateway with other settings, whose functions belong to these.
    pub(crate) async fn owned_by(
        functions: &[FunctionSpec],
        owners: Owners,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let everything = CancellationToken::new();
        let cluster = Cluster::start(everything.clone());
        for function in functions {
            cluster.add(function);
        }
        Self::in_front_of(cluster, everything, change, owners).await
    }

    /// Another gateway in front of the same cluster.
    pub(crate) async fn another(&self, change: impl FnOnce(&mut Options)) -> Self {
        let everything = self.everything.child_token();
        Self::in_front_of(self.cluster.clone(), everything, change, Owners::default()).await
    }

    async fn in_front_of(
        cluster: Cluster,
        everything: CancellationToken,
        change: impl FnOnce(&mut Options),
        owners: Owners,
    ) -> Self {
        let mut options = Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            listen_internal: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: AdminOptions::at(SocketAddr::from(([127, 0, 0, 1], 0))),
            error_details: ErrorDetails::Full,
            drain_timeout: Duration::from_secs(10).into(),
            ..Options::default()
        };
        change(&mut options);
        let gateway = Gateway::bind(cluster.api.client(), options).await.unwrap();
        let gateway = gateway.owned_by(owners);
        let (data, admin) = (gateway.data_address(), gateway.admin_address());
        let internal = gateway.internal_address();
        let shutdown = everything.child_token();
        let gateway = tokio::spawn(gateway.run(shutdown.clone()));
        let harness = Self {
            cluster,
            data,
            internal,
            admin,
            shutdown,
            gateway: Some(gateway),
            everything,
        };
        until("the gateway is ready", async || {
            get(admin, "localhost", "/readyz").await.status == 200
        })
        .await;
        harness
    }

    /// A GET of a function by its name.
    pub(crate) async fn get(&self, function: &str, path: &str) -> Answer {
        get(self.data, &format!("{function}.default.localhost"), path).await
    }

    /// A page of the admin listener.
    pub(crate) async fn admin(&self, path: &str) -> String {
        get(self.admin, "localhost", path).await.text()
    }

    /// Waits until the Deployment asks for this many replicas.
    pub(crate) async fn until_replicas(&self, revision: &str, replicas: u64) {
        until(&format!("{revision} has {replicas} replicas"), async || {
            let deployment = self.cluster.api.get("deployments", revision).unwrap();
            deployment["spec"]["replicas"] == replicas
        })
        .await;
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.everything.cancel();
    }
}
