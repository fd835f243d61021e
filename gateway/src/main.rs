//! `fermata-gateway`: the gateway as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use fermata_daemon::process::{self, Settings};
use fermata_gateway::{Gateway, Options};

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
        let client = process::client().await?;
        let gateway = Gateway::bind(client, options).await?;
        gateway.run(shutdown).await?;
        Ok(())
    })
}
