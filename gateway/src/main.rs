//! `fermata-gateway`: the gateway as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use fermata_daemon::process::{self, Settings};
use fermata_gateway::{Gateway, Options, Owners};
use kube::Client;

/// Takes requests for functions, wakes the ones that rest, and decides how many replicas run.
#[derive(Debug, Parser)]
#[command(name = "fermata-gateway", version)]
struct Arguments {
    #[command(flatten)]
    options: Options,

    #[command(flatten)]
    settings: Settings,
}

fn main() -> ExitCode {
    let Arguments { options, settings } = Arguments::parse();
    process::run(settings, async |shutdown| {
        let config = process::config().await?;
        let owners = Owners::of_cluster(config.clone())?;
        let gateway = Gateway::bind(Client::try_from(config)?, options).await?;
        let gateway = gateway.owned_by(owners);
        gateway.run(shutdown).await?;
        Ok(())
    })
}
