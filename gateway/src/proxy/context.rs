//! What all requests share: handles, bounds and switches.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::AtomicBool},
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    activator::wake::Activator,
    admin::metrics::Metrics,
    backend::registry::Registry,
    cluster::{ownership::Ownership, peers::Peers},
    options::{AccessLog, ErrorDetails, Network, Options},
    proxy::{events::EventsClient, owners::Owners},
    upstream::deadlines::Patience,
};

/// Header fields that a request may have.
pub(crate) const MOST_FIELDS: usize = 1000;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct ProxyContext {
    /// Routes.
    pub(crate) registry: Arc<Registry>,
    /// The gateways.
    pub(crate) peers: Arc<Peers>,
    /// Whose the functions with a hard limit are.
    pub(crate) ownership: Arc<Ownership>,
    /// Wakes what rests.
    pub(crate) activator: Activator,
    /// Where calls are kept whose callers do not wait, if that is switched on.
    pub(crate) events: Option<EventsClient>,
    /// Who may see those of a function.
    pub(crate) owners: Owners,
    /// Numbers.
    pub(crate) metrics: Arc<Metrics>,
    /// Bounds.
    pub(crate) limits: Limits,
    /// Owns the tunnels of upgraded connections.
    pub(crate) tunnels: TaskTracker,
    /// Whether clients are asked to go elsewhere, because the gateway is about to stop.
    pub(crate) leaving: AtomicBool,
    /// Sends waiting requests away: the time to stop has come.
    pub(crate) dismiss: CancellationToken,
    /// Cuts everything: the time to stop is over.
    pub(crate) abort: CancellationToken,
}

/// Bounds and switches of the data path.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The largest head of a request.
    pub(crate) header_bytes: usize,
    /// The largest body of a request; 0 is no bound.
    pub(crate) body_bytes: u64,
    /// The networks of proxies that are believed.
    pub(crate) trusted: Arc<[Network]>,
    /// Whether their connections begin with a PROXY header.
    pub(crate) proxy_protocol: bool,
    /// Whether each request is logged.
    pub(crate) access_log: bool,
    /// How much callers are told.
    pub(crate) error_details: ErrorDetails,
    /// How long peers may take.
    pub(crate) patience: Patience,
}

// === impl Limits ===

impl Limits {
    /// Whether a peer is a proxy that is believed.
    #[must_use]
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(peer))
    }

    /// The bounds of the options.
    #[must_use]
    pub(crate) fn of(options: &Options) -> Self {
        Self {
            header_bytes: options.max_header_bytes,
            body_bytes: options.max_body_bytes,
            trusted: options.trusted_proxies.clone().into(),
            proxy_protocol: options.proxy_protocol,
            access_log: options.access_log == AccessLog::Json,
            error_details: options.error_details,
            patience: Patience {
                body: options.body_timeout.into(),
                write: options.write_timeout.into(),
            },
        }
    }
}
