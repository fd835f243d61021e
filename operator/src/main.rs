//! The operator as a program of its own.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fermata_daemon::process::{self, Settings};
use fermata_operator::{Operator, Options, apply_definitions};

/// Makes of Functions what the cluster runs.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    options: Options,

    #[command(flatten)]
    settings: Settings,

    #[command(subcommand)]
    command: Option<Command>,
}

/// What is done in place of the operator's work.
#[derive(Subcommand)]
enum Command {
    /// Applies the CustomResourceDefinitions of this version, waits until they are served, and ends.
    ApplyDefinitions,
}

fn main() -> ExitCode {
    let Cli {
        options,
        settings,
        command,
    } = Cli::parse();
    process::run(settings, async |shutdown| {
        let client = process::client().await?;
        match command {
            Some(Command::ApplyDefinitions) => apply_definitions(client).await?,
            None => Operator::new(client, options).run(shutdown).await?,
        }
        Ok(())
    })
}
