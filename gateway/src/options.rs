//! What can be set from outside.

mod bound;
mod network;
mod own_path;

use std::{net::SocketAddr, time::Duration};

use clap::{Args, ValueEnum};
use fermata_crds::{
    GoDuration,
    routes::{ClaimGrant, ClaimPolicy},
};
use fermata_daemon::admin::AdminOptions;
use fermata_listen::address;
use http::uri::Authority;

pub use bound::Bound;
pub use network::Network;
pub use own_path::{NotAnOwnPath, OwnPath};

/// Port of the admin listener where nothing is said.
pub(crate) const ADMIN_PORT: u16 = 9090;

/// Settings of the gateway. Durations are written like 300ms, 30s or 5m.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Address for requests to functions from everywhere.
    #[arg(long, env = "FERMATA_LISTEN", value_parser = address, default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// Address for requests from inside the cluster, where functions answer under their in-cluster names:
    /// also those that are for the cluster only. Nobody else should reach it.
    #[arg(long, env = "FERMATA_LISTEN_INTERNAL", value_parser = address, default_value = "0.0.0.0:8081")]
    pub listen_internal: SocketAddr,

    /// Where metrics, health and statistics are. Gateways ask each other there, so that it cannot be off.
    #[command(flatten)]
    pub admin: AdminOptions,

    /// Functions answer under NAME.NAMESPACE.DOMAIN.
    #[arg(long, env = "FERMATA_DOMAIN", default_value = "localhost")]
    pub domain: String,

    /// The cluster's own DNS domain: functions answer under NAME.NAMESPACE.svc.CLUSTER_DOMAIN.
    #[arg(long, env = "FERMATA_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,

    /// A host of the gateway itself, which no function may claim; give the flag once for each. The operator
    /// has to be given the same.
    #[arg(
        long = "gateway-host",
        env = "FERMATA_GATEWAY_HOSTS",
        value_delimiter = ',',
        value_name = "HOST"
    )]
    pub gateway_hosts: Vec<String>,

    /// Grants a domain, or a path, with everything below it to some namespaces: DOMAIN=NAMESPACE,... or
    /// /PATH=NAMESPACE,...; the domain * is all that no other grant names. Give the flag once for each. The
    /// operator has to be given the same.
    #[arg(
        long = "claim",
        env = "FERMATA_CLAIMS",
        value_delimiter = ';',
        value_name = "GRANT"
    )]
    pub claims: Vec<ClaimGrant>,

    /// A function that answers below a path of the gateway itself, which nobody can claim:
    /// PATH=NAMESPACE/NAME, such as /hooks/git=fermata-system/webhooks. It answers nowhere else. Give the flag
    /// once for each.
    #[arg(
        long = "own-path",
        env = "FERMATA_OWN_PATHS",
        value_delimiter = ',',
        value_name = "PATH=FUNCTION"
    )]
    pub own_paths: Vec<OwnPath>,

    /// Host and port of fermata-events, which keeps calls whose callers do not wait (Prefer: respond-async).
    /// Default: such calls get 501.
    #[arg(long, env = "FERMATA_EVENTS", value_name = "HOST:PORT")]
    pub events: Option<Authority>,

    /// Serve the functions of these namespaces alone, and need no rights elsewhere; separated by commas. The
    /// operator has to be given the same. Default: those of the whole cluster.
    #[arg(
        long,
        env = "FERMATA_WATCH_NAMESPACES",
        value_delimiter = ',',
        value_parser = fermata_daemon::watch::namespace,
        value_name = "NAMESPACES"
    )]
    pub watch_namespaces: Vec<String>,

    /// Whether gateways agree by a Lease on the one that scales. false: this one always scales.
    #[arg(long, env = "FERMATA_LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,

    /// Namespace of the Lease and of the gateway's own pods.
    #[arg(
        long,
        env = "FERMATA_LEASE_NAMESPACE",
        default_value = "fermata-system"
    )]
    pub lease_namespace: String,

    /// Name of this gateway among its peers; the name of its pod. Default: random.
    #[arg(long, env = "FERMATA_IDENTITY")]
    pub identity: Option<String>,

    /// Label selector of the gateways' pods in the lease namespace. Default: there are no peers.
    #[arg(long, env = "FERMATA_PEER_SELECTOR")]
    pub peer_selector: Option<String>,

    /// Whether each request is logged.
    #[arg(long, env = "FERMATA_ACCESS_LOG", value_enum, default_value_t = AccessLog::Off)]
    pub access_log: AccessLog,

    /// How much callers are told of why a function does not start or takes no connection.
    #[arg(long, env = "FERMATA_ERROR_DETAILS", value_enum, default_value_t = ErrorDetails::Public)]
    pub error_details: ErrorDetails,

    /// The largest head of a request, in bytes; beyond: 431.
    #[arg(long, env = "FERMATA_MAX_HEADER_BYTES", default_value_t = 64 * 1024)]
    pub max_header_bytes: usize,

    /// The largest body of a request, in bytes; beyond: 413. 0 is no bound: bodies are streamed and
    /// never kept, so their size costs no memory.
    #[arg(long, env = "FERMATA_MAX_BODY_BYTES", default_value_t = 0)]
    pub max_body_bytes: u64,

    /// How long a client may take to send the head of a request, from its first byte on.
    #[arg(long, env = "FERMATA_HEADER_TIMEOUT", default_value = "10s")]
    pub header_timeout: GoDuration,

    /// How long a connection is kept for its next request.
    #[arg(long, env = "FERMATA_IDLE_TIMEOUT", default_value = "60s")]
    pub idle_timeout: GoDuration,

    /// How long a client may send nothing in the middle of a request's body, where the function does not
    /// say so itself (spec.timeouts.idle). 0s: for ever.
    #[arg(long, env = "FERMATA_BODY_TIMEOUT", default_value = "60s")]
    pub body_timeout: GoDuration,

    /// How long a client, or a function, may take no byte of what is sent to it. 0s: for ever.
    #[arg(long, env = "FERMATA_WRITE_TIMEOUT", default_value = "60s")]
    pub write_timeout: GoDuration,

    /// How long readiness fails before the listener closes, so that nobody is sent here any more.
    #[arg(long, env = "FERMATA_SHUTDOWN_DELAY", default_value = "0s")]
    pub shutdown_delay: GoDuration,

    /// How long running requests may go on after that.
    #[arg(long, env = "FERMATA_DRAIN_TIMEOUT", default_value = "300s")]
    pub drain_timeout: GoDuration,

    /// The most client connections at once. Further ones take the place of those that have been idle
    /// longest, or wait while none is idle. auto: a third of the files that the process may open,
    /// and at most 65536.
    #[arg(long, env = "FERMATA_MAX_CONNECTIONS", default_value_t)]
    pub max_connections: Bound,

    /// The most of them from one address, or from one IPv6 network of 64 bits. auto: half.
    #[arg(long, env = "FERMATA_MAX_CONNECTIONS_PER_ADDRESS", default_value_t)]
    pub max_connections_per_address: Bound,

    /// Networks of proxies before the gateway, such as 10.0.0.0/8,fd00::/8: what they say about who asks
    /// (Forwarded, X-Forwarded-*, X-Real-IP and their like) is kept and added to, instead of replaced, and
    /// their connections are not bounded per address. Only proxies that do not pass on what their own
    /// clients say.
    #[arg(
        long,
        env = "FERMATA_TRUSTED_PROXIES",
        value_name = "NETWORKS",
        value_delimiter = ','
    )]
    pub trusted_proxies: Vec<Network>,

    /// Whether connections from --trusted-proxies begin with a PROXY protocol header, version 2, that says
    /// whose they are. One that does not is closed.
    #[arg(long, env = "FERMATA_PROXY_PROTOCOL")]
    pub proxy_protocol: bool,
}

/// How requests are logged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum AccessLog {
    /// Not at all.
    #[default]
    Off,
    /// One event of the target `fermata::access` per request, with its values in fields.
    Json,
}

/// How much callers are told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum ErrorDetails {
    /// The reason, and a sentence without names and data. The whole sentence is in the function's status,
    /// its events and the gateway's log.
    #[default]
    Public,
    /// The cluster's own sentence, with the last lines that a crashed function wrote. For development.
    Full,
}

// === impl Options ===

impl Options {
    /// What functions may claim.
    pub(crate) fn claim_policy(&self) -> ClaimPolicy {
        ClaimPolicy::new(
            &self.domain,
            &self.cluster_domain,
            &self.gateway_hosts,
            &self.claims,
        )
    }
}

impl Default for Options {
    /// The defaults of the command line, but on loopback and without a leader election.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            listen_internal: SocketAddr::from(([127, 0, 0, 1], 8081)),
            admin: AdminOptions::at(SocketAddr::from(([127, 0, 0, 1], ADMIN_PORT))),
            domain: "localhost".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            gateway_hosts: Vec::new(),
            claims: Vec::new(),
            own_paths: Vec::new(),
            events: None,
            watch_namespaces: Vec::new(),
            leader_elect: false,
            lease_namespace: "fermata-system".to_owned(),
            identity: None,
            peer_selector: None,
            access_log: AccessLog::Off,
            error_details: ErrorDetails::Public,
            max_header_bytes: 64 * 1024,
            max_body_bytes: 0,
            header_timeout: GoDuration::from(Duration::from_secs(10)),
            idle_timeout: GoDuration::from(Duration::from_secs(60)),
            body_timeout: GoDuration::from(Duration::from_secs(60)),
            write_timeout: GoDuration::from(Duration::from_secs(60)),
            shutdown_delay: GoDuration::from(Duration::ZERO),
            drain_timeout: GoDuration::from(Duration::from_secs(300)),
            max_connections: Bound::Auto,
            max_connections_per_address: Bound::Auto,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
        }
    }
}
