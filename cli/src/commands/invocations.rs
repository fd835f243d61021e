//! `fermata invocations`, and `fermata dlq` for those that have failed.

mod change;
mod find;
mod list;
mod one;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCandidates;
use http::Uri;

use super::completion;
use crate::{args::Target, cluster::Consent, output::Format};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fermata invocations list mails --state failed     dead letters of a function
  fermata invocations redrive --all mails           have all of them tried anew
  fermata invocations show 01a2211e-d6cd-7fee-98c8-143b7da0dad3")]
pub(crate) struct Options {
    #[command(flatten)]
    way: GatewayOptions,

    #[command(subcommand)]
    action: Action,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fermata dlq list                  dead letters of all functions of the namespace
  fermata dlq redrive --all mails   have those of a function tried anew
  fermata dlq purge --all mails     forget them")]
pub(crate) struct FailedOptions {
    #[command(flatten)]
    way: GatewayOptions,

    #[command(subcommand)]
    action: FailedAction,
}

/// Where the gateway is.
#[derive(Args, Debug)]
struct GatewayOptions {
    /// Where the gateway is, such as https://functions.example.com. Default: found through the cluster.
    #[arg(long, env = "FERMATA_GATEWAY", value_name = "URL", global = true)]
    gateway: Option<Uri>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List calls, the newest first.
    #[command(visible_alias = "ls")]
    List(StateOptions),
    /// Show a call: how it stands, and what was sent.
    Show(ShowOptions),
    /// Print what the function has answered.
    Result(OneOptions),
    /// Call a call off.
    Cancel(CancelOptions),
    /// Have calls tried anew that have failed.
    Redrive(ManyOptions),
    /// Remove calls that have failed.
    Purge(ManyOptions),
}

#[derive(Debug, Subcommand)]
enum FailedAction {
    /// List calls that have failed, the newest first.
    #[command(visible_alias = "ls")]
    List(ListOptions),
    /// Show a call: why it has failed, and what was sent.
    Show(ShowOptions),
    /// Have calls tried anew.
    Redrive(ManyOptions),
    /// Remove calls.
    Purge(ManyOptions),
}

#[derive(Args, Debug)]
struct StateOptions {
    #[command(flatten)]
    list: ListOptions,

    /// Only calls that stand so.
    #[arg(long, value_enum)]
    state: Option<State>,
}

/// How a call stands.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    /// Waits for an attempt.
    Waiting,
    /// Is being made.
    Running,
    /// The function has answered with a status below 400.
    Succeeded,
    /// Is tried no more.
    Failed,
    /// Was called off.
    Cancelled,
}

#[derive(Args, Debug)]
struct ListOptions {
    /// The function. Default: all functions of the namespace.
    #[arg(add = ArgValueCandidates::new(completion::functions))]
    function: Option<String>,

    /// The most calls of each function that are listed.
    #[arg(long, default_value_t = 100, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,

    /// How to print them.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Args, Debug)]
struct OneOptions {
    /// The call's id.
    id: String,

    /// The function. Default: the one of the namespace that has the call.
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(completion::functions))]
    function: Option<String>,
}

#[derive(Args, Debug)]
struct ShowOptions {
    #[command(flatten)]
    one: OneOptions,

    /// How to print it.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Args, Debug)]
struct CancelOptions {
    #[command(flatten)]
    one: OneOptions,

    #[command(flatten)]
    consent: Consent,
}

#[derive(Args, Debug)]
struct ManyOptions {
    /// The call's id.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    id: Option<String>,

    /// All calls of this function that have failed by now.
    #[arg(long, value_name = "FUNCTION", add = ArgValueCandidates::new(completion::functions))]
    all: Option<String>,

    /// The function of the one call. Default: the one of the namespace that has it.
    #[arg(long, value_name = "NAME", conflicts_with = "all", add = ArgValueCandidates::new(completion::functions))]
    function: Option<String>,

    #[command(flatten)]
    consent: Consent,
}

/// What is done with calls that have failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change {
    Redrive,
    Purge,
}

// === impl State ===

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

pub(crate) async fn run(target: &Target, options: Options) -> anyhow::Result<ExitCode> {
    let way = &options.way;
    match options.action {
        Action::List(StateOptions { list, state }) => list::run(target, way, &list, state).await?,
        Action::Show(options) => one::show(target, way, &options).await?,
        Action::Result(options) => return one::result(target, way, &options).await,
        Action::Cancel(options) => one::cancel(target, way, &options).await?,
        Action::Redrive(options) => change::run(target, way, &options, Change::Redrive).await?,
        Action::Purge(options) => change::run(target, way, &options, Change::Purge).await?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn run_failed(
    target: &Target,
    options: FailedOptions,
) -> anyhow::Result<ExitCode> {
    let way = &options.way;
    match options.action {
        FailedAction::List(list) => list::run(target, way, &list, Some(State::Failed)).await?,
        FailedAction::Show(options) => one::show(target, way, &options).await?,
        FailedAction::Redrive(options) => {
            change::run(target, way, &options, Change::Redrive).await?;
        }
        FailedAction::Purge(options) => change::run(target, way, &options, Change::Purge).await?,
    }
    Ok(ExitCode::SUCCESS)
}
