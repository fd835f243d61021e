//! `fermata up`: embedded cluster, operator and gateway in one process.

pub(crate) mod access;
mod files;
mod news;
mod owner;
mod platform;
mod report;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueEnum};
use fermata_listen::address;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::platform::Platform;
use crate::{manifest, output};

#[derive(Args, Clone, Debug)]
#[command(
    args_override_self = true,
    after_help = "Examples:
  fermata up -f hello/        run the functions in hello/, and follow their changes
  fermata up --ephemeral      an empty platform that forgets everything when it ends"
)]
pub(crate) struct Options {
    /// Manifest files or directories to apply, now and whenever they change. A function whose
    /// source names no files takes the files beside its manifest, and those in the folders there.
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR")]
    files: Vec<PathBuf>,

    /// Where state, logs and the kubeconfig are kept.
    #[arg(long, value_name = "DIR", default_value = ".fermata")]
    data: PathBuf,

    /// Keep the state in memory only.
    #[arg(long)]
    ephemeral: bool,

    /// Where the gateway takes requests.
    #[arg(long, value_name = "ADDRESS", value_parser = address, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// Where the gateway takes requests from functions, by their in-cluster names; functions with
    /// visibility Cluster answer here alone.
    #[arg(long, value_name = "ADDRESS", value_parser = address, default_value = "127.0.0.1:8081")]
    listen_internal: SocketAddr,

    /// Where the gateway's metrics and health are.
    #[arg(long, value_name = "ADDRESS", value_parser = address, default_value = "127.0.0.1:9090")]
    admin: SocketAddr,

    /// Where the Kubernetes API is.
    #[arg(long, value_name = "ADDRESS", value_parser = address, default_value = "127.0.0.1:6440")]
    api: SocketAddr,

    /// The domain below which functions have their hosts.
    #[arg(long, value_name = "DOMAIN", default_value = "localhost")]
    domain: String,

    /// A host that callers may have told what became of their calls (X-Callback-Url): a name such as localhost, an
    /// address, or *.DOMAIN; may be given several times.
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    callback_allow: Vec<fermata_events::AllowedHost>,

    /// Whether each request is shown.
    #[arg(long, value_enum, default_value_t)]
    access_log: AccessLog,
}

/// Whether requests are shown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum AccessLog {
    /// A line each.
    #[default]
    On,
    /// Not at all.
    Off,
}

// === impl Options ===

impl Options {
    /// Whether a line is printed for each request.
    pub(crate) fn shows_requests(&self) -> bool {
        self.access_log == AccessLog::On
    }
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let files = fermata_listen::files::raise();
    // Both before anything starts: a mistake in a file is told at once, and a Ctrl-C during the
    // start is not lost.
    let stamp = manifest::stamp(&options.files);
    let manifests = manifest::read_what_can_be(&options.files)?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    let platform = Platform::start(&options, files).await?;
    report::welcome(&platform, &options);
    let stop = CancellationToken::new();
    let reporter = tokio::spawn(report::follow(
        platform.client(),
        platform.gateway,
        platform.internal,
        stop.clone(),
    ));
    let follower = tokio::spawn(files::follow(
        platform.client(),
        options.files.clone(),
        stamp,
        manifests,
        stop.clone(),
    ));

    let ended = tokio::select! {
        ended = platform.failed() => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    output::note("\nStopping: running requests finish first. Ctrl-C again ends at once.");
    stop.cancel();
    let stopping = async {
        let _ = tokio::join!(reporter, follower);
        platform.shutdown().await;
    };
    tokio::select! {
        () = stopping => {}
        _ = interrupt.recv() => output::note("Ended without waiting."),
    }
    ended
}
