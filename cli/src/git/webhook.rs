//! Webhooks: who keeps a repository tells that there is something new in it.
//!
//! What takes deliveries is a function of the platform's own, so that the gateway needs no right on Secrets, and
//! nothing runs while nobody delivers. A delivery that is signed with the key of a function does one thing: it asks
//! the operator to look at the repository, by an annotation. So what it says does not matter, and a replay neither.

mod delivery;
mod functions;
mod keys;
mod looks;
mod refusal;
mod server;
mod signature;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;
use fermata_daemon::{
    log::{self, Format},
    watch::{self, Places},
};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::signal::unix::{SignalKind, signal};

#[cfg(feature = "embedded")]
pub(super) use self::delivery::PATH;
use self::server::Server;
use super::listen;

/// What it has to know.
#[derive(Debug, Parser)]
struct Options {
    /// The kubeconfig of the cluster; without it this is a pod of the cluster.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,

    /// Take deliveries for the functions of these namespaces alone; separated by commas. Default: all.
    #[arg(long, value_delimiter = ',', value_parser = watch::namespace)]
    watch_namespaces: Vec<String>,

    /// How log lines are written.
    #[arg(long, value_enum, default_value_t)]
    log_format: Format,
}

/// Serves until it is told to stop, and then until all looks are asked for.
pub(super) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => error.exit(),
    };
    let served = log::start(options.log_format)
        .context("cannot begin to log")
        .and_then(|_writer| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .context("cannot start")?;
            runtime.block_on(run(options))
        });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::fail(&error),
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let (config, is_local) = match &options.kubeconfig {
        Some(file) => {
            let kubeconfig = Kubeconfig::read_from(file)?;
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
            (config, true)
        }
        None => (
            Config::incluster().context("this is no pod of a cluster; name a --kubeconfig")?,
            false,
        ),
    };
    let client = Client::try_from(config).context("the cluster cannot be asked")?;
    let listener = listen(is_local).await?;
    let server = Server::start(client, Places::of(&options.watch_namespaces));
    server.serve(listener, terminate.recv()).await;
    Ok(())
}
