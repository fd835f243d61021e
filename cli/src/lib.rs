//! The Fermata command line.
//!
//! `fermata up` runs the embedded cluster, the operator and the gateway in one process; the other
//! commands work on whatever cluster the kubeconfig names.

mod args;
mod bearer;
mod building;
mod bundle;
mod cluster;
mod commands;
mod errors;
mod functions;
mod gateway;
mod git;
mod manifest;
mod namespace;
mod output;
mod random;
mod ready;
mod suggest;
mod unready;
#[cfg(feature = "embedded")]
mod up;
mod urls;

use std::process::ExitCode;

use clap::FromArgMatches as _;

use crate::args::{Arguments, Command};

/// The hidden command by which the node starts a container's supervisor.
pub const CONTAINER_COMMAND: &str = "__container";

/// Runs the command line of this process and gives its exit code: 0, or 1 with a sentence on
/// standard error, or 3 with that of an API server that refuses what was to be applied.
#[must_use]
pub fn main() -> ExitCode {
    // A second provider could only come from another call of this function.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    if let Some(code) = git::hidden(std::env::args_os().skip(1)) {
        return code;
    }
    commands::completion::complete();
    let arguments = match Arguments::from_arg_matches(&args::command().get_matches()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("cannot start")),
    };
    match runtime.block_on(run(arguments)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let is_up = arguments.command.is_up();
    let _writers = is_up.then(output::detach).transpose()?;
    args::start_log(arguments.verbose, is_up, arguments.command.requests());
    let target = arguments.target;
    match arguments.command {
        #[cfg(feature = "embedded")]
        Command::Up(options) => up::run(options).await?,
        Command::Init(options) => commands::init::run(&options)?,
        Command::Deploy(options) => commands::deploy::run(&target, options).await?,
        Command::Invoke(options) => return commands::invoke::run(&target, options).await,
        Command::Invocations(options) => {
            return commands::invocations::run(&target, options).await;
        }
        Command::Dlq(options) => return commands::invocations::run_failed(&target, options).await,
        Command::List(options) => commands::list::run(&target, &options).await?,
        Command::Describe(options) => commands::describe::run(&target, &options).await?,
        Command::Logs(options) => commands::logs::run(&target, options).await?,
        Command::Publish(options) => return commands::publish::run(&target, options).await,
        Command::Topics(options) => commands::topics::run(&target, &options).await?,
        Command::Restart(options) => commands::restart::run(&target, options).await?,
        Command::Build(options) => Box::pin(commands::build::run(&target, options)).await?,
        Command::Test(options) => return commands::test::run(&options),
        Command::Delete(options) => Box::pin(commands::delete::run(&target, options)).await?,
        Command::Schema => commands::schema::run()?,
        Command::Completion(options) => commands::completion::run(&options)?,
        Command::Version(options) => commands::version::run(&options)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what went wrong: the error, then its causes, one a line.
fn fail(error: &anyhow::Error) -> ExitCode {
    let sentences = errors::sentences(error);
    output::note(&format!("error: {}", sentences.join("\n  ")));
    if errors::is_refusal(error) {
        return ExitCode::from(errors::REFUSED);
    }
    ExitCode::FAILURE
}
