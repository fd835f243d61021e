//! The operator as a program of its own.

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use fermata_operator::{Operator, Options, apply_definitions};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Makes of Functions what the cluster runs.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    options: Options,

    /// How log lines are written. What is logged is set by RUST_LOG; default: info.
    #[arg(long, env = "FERMATA_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    #[command(subcommand)]
    command: Option<Command>,
}

/// What is done in place of the operator's work.
#[derive(Subcommand)]
enum Command {
    /// Applies the CustomResourceDefinitions of this version, waits until they are served, and ends.
    ApplyDefinitions,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = filter.add_directive(fermata_daemon::watch::QUIET.parse()?);
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    match cli.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    // Fails only if a provider is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut config = kube::Config::infer()
        .await
        .context("no way to a cluster; is there a kubeconfig, or does this run in a pod?")?;
    // The client itself would try again after up to minutes what an overloaded API server, or one that
    // has just begun, refuses. Who calls it knows better when: watches and writes have waits of their own.
    config.default_retry = false;
    let client =
        kube::Client::try_from(config).context("the cluster\'s configuration is of no use")?;
    if let Some(Command::ApplyDefinitions) = cli.command {
        return Ok(apply_definitions(client).await?);
    }
    let shutdown = CancellationToken::new();
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        stop.cancel();
    });
    Operator::new(client, cli.options).run(shutdown).await?;
    Ok(())
}
