//! `fermata-events`: what keeps asynchronous calls, as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use fermata_daemon::process::{self, Settings};
use fermata_events::{Events, Options};

/// Keeps calls whose callers do not wait for the answer, and makes them through the gateway.
#[derive(Debug, Parser)]
#[command(name = "fermata-events", version)]
struct Arguments {
    #[command(flatten)]
    options: Options,

    #[command(flatten)]
    settings: Settings,
}

fn main() -> ExitCode {
    let Arguments { options, settings } = Arguments::parse();
    process::run(settings, async |shutdown| {
        Events::bind(options).await?.run(shutdown).await?;
        Ok(())
    })
}
