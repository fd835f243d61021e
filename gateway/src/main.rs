//! `fermata-gateway`: the gateway as a process of its own.

use anyhow::Context;
use clap::Parser;
use fermata_gateway::{Gateway, Options};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Takes requests for functions, wakes the ones that rest, and decides how many replicas run.
#[derive(Debug, Parser)]
#[command(name = "fermata-gateway", version)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

// Requests have threads of their own.
#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let Arguments { options } = Arguments::parse();
    let files = fermata_listen::files::raise();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = filter.add_directive(fermata_daemon::watch::QUIET.parse()?);
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .init();
    tracing::info!(files = files.limit, "files that may be open at once");
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        anyhow::bail!("another TLS provider is installed");
    }
    let mut config = kube::Config::infer()
        .await
        .context("cannot find the cluster; give a kubeconfig in KUBECONFIG")?;
    // The client itself would try again after up to minutes what an overloaded API server, or one that
    // has just begun, refuses. Who calls it knows better when: watches and writes have waits of their own.
    config.default_retry = false;
    let client =
        kube::Client::try_from(config).context("the cluster\'s configuration is of no use")?;
    let shutdown = CancellationToken::new();
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.cancel();
    });
    let gateway = Gateway::bind(client, options).await?;
    gateway.run(shutdown).await?;
    Ok(())
}
