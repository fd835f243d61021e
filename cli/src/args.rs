//! The arguments that every command shares, and the list of commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::{commands, up};

/// Serverless functions on Kubernetes, or on this machine alone.
#[derive(Debug, Parser)]
#[command(
    name = "fermata",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) target: Target,

    /// Log more: -v what happens, -vv in detail. RUST_LOG takes precedence.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which cluster and namespace a command works on, as with kubectl.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Target {
    /// The kubeconfig file. Default: $KUBECONFIG, then .fermata/kubeconfig of `fermata up` in this
    /// directory, then ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// The context within the kubeconfig. Default: its current one.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,

    /// The namespace. Default: the context's own, else default.
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole platform on this machine: embedded cluster, operator and gateway.
    Up(up::Options),
    /// Write a new function: a manifest and its code.
    Init(commands::init::Options),
    /// Apply functions and wait until they are ready.
    Deploy(commands::deploy::Options),
    /// Call a function and print its answer.
    Invoke(commands::invoke::Options),
    /// List functions.
    #[command(visible_alias = "ls")]
    List(commands::list::Options),
    /// Show a function with its revisions, pods and events.
    Describe(commands::describe::Options),
    /// Print what a function's instances log.
    Logs(commands::logs::Options),
    /// Delete functions.
    Delete(commands::delete::Options),
    /// Print a completion script for a shell.
    Completion(commands::completion::Options),
}

/// Sends the log to standard error. `fermata up` says what matters itself, so that warnings are
/// enough by default.
pub(crate) fn start_log(verbose: u8, up: bool) {
    let default = match (verbose, up) {
        (0, true) => "warn",
        (0, false) => "error",
        (1, _) => "info,kube_client=warn,kube_runtime=warn",
        _ => "debug,hyper=info,h2=info,rustls=info,tower=info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // A subscriber that is there already was put there by somebody who wants it.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}
