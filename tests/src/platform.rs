//! The platform under test.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::OnceLock,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{client::Gateway, up::Up};

/// Where the platform is.
#[derive(Clone, Debug)]
pub struct Platform {
    /// The kubeconfig of its cluster.
    pub kubeconfig: PathBuf,
    /// The address of its gateway.
    pub gateway: SocketAddr,
    /// Where the gateway takes requests from inside the cluster.
    pub internal: SocketAddr,
    /// The address of the gateway's metrics, if it can be reached.
    pub admin: Option<SocketAddr>,
    /// Whether it runs on the embedded cluster.
    pub embedded: bool,
}

// === impl Platform ===

impl Platform {
    /// The platform that all tests of one program share.
    #[must_use]
    pub fn shared() -> Self {
        static SHARED: OnceLock<Platform> = OnceLock::new();
        let from_environment = || {
            // KUBECONFIG by itself is too often somebody's production.
            let gateway = std::env::var("FERMATA_TEST_GATEWAY").ok()?;
            let kubeconfig = std::env::var_os("KUBECONFIG")
                .expect("FERMATA_TEST_GATEWAY is the gateway of the cluster that KUBECONFIG names");
            let internal = std::env::var("FERMATA_TEST_GATEWAY_INTERNAL").expect(
                "FERMATA_TEST_GATEWAY_INTERNAL is the gateway's address for in-cluster names",
            );
            Some(Platform {
                kubeconfig: kubeconfig.into(),
                internal: internal
                    .parse()
                    .expect("FERMATA_TEST_GATEWAY_INTERNAL is an address"),
                gateway: gateway.parse().expect("FERMATA_TEST_GATEWAY is an address"),
                admin: None,
                embedded: false,
            })
        };
        let started_here = || {
            let dir = tempfile::tempdir().expect("a temporary directory").keep();
            // It runs until this process ends; then the supervisor's pipe closes.
            Box::leak(Box::new(Up::start(&dir, ["--ephemeral"])))
                .platform()
                .clone()
        };
        SHARED
            .get_or_init(|| from_environment().unwrap_or_else(started_here))
            .clone()
    }

    /// A client of its cluster, bound to the current runtime.
    pub async fn client(&self) -> Client {
        self.client_as(None).await
    }

    async fn config(&self) -> Config {
        let kubeconfig =
            Kubeconfig::read_from(&self.kubeconfig).expect("the kubeconfig is readable");
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .expect("the kubeconfig is valid")
    }

    /// The address at which its API server listens, which is one of this machine's own where it runs here:
    /// pods reach it.
    ///
    /// # Panics
    ///
    /// When the kubeconfig names it by a host.
    pub async fn api_address(&self) -> IpAddr {
        let config = self.config().await;
        let host = config.cluster_url.host().unwrap_or_default();
        host.parse().expect("the API server is named by an address")
    }

    /// A client that may do what a user of this name may.
    pub async fn client_as(&self, user: Option<&str>) -> Client {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut config = self.config().await;
        config.auth_info.impersonate = user.map(str::to_owned);
        Client::try_from(config).expect("the kubeconfig is usable")
    }

    /// Its gateway, as callers in the cluster reach it.
    #[must_use]
    pub fn internal_gateway(&self) -> Gateway {
        Gateway {
            address: self.internal,
        }
    }

    /// Its gateway.
    #[must_use]
    pub fn gateway(&self) -> Gateway {
        Gateway {
            address: self.gateway,
        }
    }
}
