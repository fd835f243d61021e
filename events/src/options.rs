//! What can be set from outside.

#[cfg(feature = "nats")]
mod nats;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use fermata_crds::GoDuration;
use fermata_daemon::admin::AdminOptions;
use fermata_listen::address;
use http::uri::Authority;

use crate::allow::AllowedHost;

#[cfg(feature = "nats")]
pub use nats::{NatsOptions, NatsUrl, NotForNats, StreamName};

/// Port of the admin listener where nothing is said.
pub(crate) const ADMIN_PORT: u16 = 9092;

/// Settings of the events program. Durations are written like 300ms, 30s or 5m.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Address where the gateway asks for calls to be kept. Nobody else should reach it.
    #[arg(long, env = "FERMATA_LISTEN", value_parser = address, default_value = "0.0.0.0:8090")]
    pub listen: SocketAddr,

    /// Where metrics and health are.
    #[command(flatten)]
    pub admin: AdminOptions,

    /// Host and port of the gateway's listener for requests from inside the cluster, through which functions are
    /// called.
    #[arg(
        long,
        env = "FERMATA_GATEWAY",
        value_name = "HOST:PORT",
        default_value = "fermata-gateway-internal.fermata-system.svc:80"
    )]
    pub gateway: Authority,

    /// The file in which calls are kept. One process has it.
    #[arg(
        long,
        env = "FERMATA_STORE",
        value_name = "FILE",
        default_value = "/var/lib/fermata/events.redb"
    )]
    pub store: PathBuf,

    /// Where they are kept in NATS instead.
    #[cfg(feature = "nats")]
    #[command(flatten)]
    pub nats: NatsOptions,

    /// Keep calls in memory only: they are lost when the process ends.
    #[arg(long, env = "FERMATA_EPHEMERAL")]
    pub ephemeral: bool,

    /// The largest body of a call that is kept, and of an answer, in bytes; beyond: 413.
    #[arg(long, env = "FERMATA_MAX_BODY_BYTES", default_value_t = 1024 * 1024)]
    pub max_body_bytes: usize,

    /// What all calls that wait may take, in bytes, and as much again what is known of those that are
    /// over. The calls of one namespace that wait may take a quarter; beyond: 507.
    #[arg(long, env = "FERMATA_MAX_STORE_BYTES", default_value_t = 1024 * 1024 * 1024)]
    pub max_store_bytes: u64,

    /// The most calls of one namespace that wait; beyond: 507.
    #[arg(long, env = "FERMATA_MAX_CALLS", default_value_t = 100_000)]
    pub max_calls: u64,

    /// The most calls that are over and of which is known what became of them; the oldest are forgotten first.
    #[arg(long, env = "FERMATA_MAX_RECORDS", default_value_t = 100_000)]
    pub max_records: usize,

    /// A host that callers may have told what became of their calls (X-Callback-Url): a name, an address, or
    /// *.DOMAIN; give the flag once for each. None: nobody is called back. Names lead to addresses of the internet
    /// alone, those of Services to the cluster too.
    #[arg(
        long = "callback-allow",
        env = "FERMATA_CALLBACK_ALLOW",
        value_delimiter = ',',
        value_name = "HOST"
    )]
    pub callback_allow: Vec<AllowedHost>,

    /// How many calls are made at once. A namespace has a quarter of them, and a function a tenth.
    #[arg(long, env = "FERMATA_CONCURRENCY", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub concurrency: u32,

    /// How long calls that are being made may go on when the process is to end. They are made again otherwise.
    #[arg(long, env = "FERMATA_DRAIN_TIMEOUT", default_value = "60s")]
    pub drain_timeout: GoDuration,
}

impl Default for Options {
    /// The defaults of the command line, but on loopback at ports that are free, and in memory only.
    fn default() -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            listen: free,
            admin: AdminOptions::off(),
            gateway: Authority::from_static("127.0.0.1:8081"),
            store: PathBuf::new(),
            #[cfg(feature = "nats")]
            nats: NatsOptions::default(),
            ephemeral: true,
            max_body_bytes: 1024 * 1024,
            max_store_bytes: 1024 * 1024 * 1024,
            max_calls: 100_000,
            max_records: 100_000,
            callback_allow: Vec::new(),
            concurrency: 1000,
            drain_timeout: Duration::from_secs(60).into(),
        }
    }
}
