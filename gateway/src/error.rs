//! Why the gateway cannot run.

use std::{io, net::SocketAddr};

/// Why the gateway cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address is taken, or not this machine's.
    #[error("cannot listen on {address} for {purpose}; give another address with {flag}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What for.
        purpose: &'static str,
        /// The way out.
        flag: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// There is no address for metrics and health.
    #[error(
        "a gateway needs its admin port, where other gateways ask it; give an address with --admin"
    )]
    NoAdmin,
    /// The metrics cannot be shown.
    #[error("cannot show the metrics")]
    Metrics(#[source] prometheus::Error),
    /// The threads that serve requests cannot be started.
    #[error("cannot start the threads that serve requests")]
    Threads(#[source] io::Error),
    /// A task that runs as long as the gateway has ended before it.
    #[error("the gateway's {0} has ended unexpectedly")]
    TaskEnded(&'static str),
}
