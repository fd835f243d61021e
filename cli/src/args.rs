//! The arguments that every command shares, and the list of commands.

use std::path::PathBuf;

use clap::{Arg, Args, CommandFactory as _, Parser, Subcommand};
use fermata_daemon::log::has_colours;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

#[cfg(feature = "embedded")]
use crate::up::{self, access::Catcher};
use crate::{commands, output};

/// The name by which kubectl finds a plugin (<https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins>).
const PLUGIN: &str = "kubectl-fermata";

/// What takes requests out of the log.
pub(crate) type Requests = Box<dyn Layer<Registry> + Send + Sync>;

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
    #[cfg(feature = "embedded")]
    Up(up::Options),
    /// Write a new function: a manifest and its code.
    Init(commands::init::Options),
    /// Apply functions, or change one, and wait until they are ready.
    Deploy(commands::deploy::Options),
    /// Call a function and print its answer.
    Invoke(commands::invoke::Options),
    /// See and change the calls whose callers do not wait for the answer.
    #[command(visible_alias = "inv")]
    Invocations(commands::invocations::Options),
    /// The same for those that have failed: dead letters.
    Dlq(commands::invocations::FailedOptions),
    /// List functions.
    #[command(visible_aliases = ["ls", "get"])]
    List(commands::list::Options),
    /// Show a function with its revisions, pods and events.
    Describe(commands::describe::Options),
    /// Print what a function's instances log.
    Logs(commands::logs::Options),
    /// List topics, with the functions that hear them.
    Topics(commands::topics::Options),
    /// Start functions anew: the same code in a new revision.
    Restart(commands::restart::Options),
    /// Build a function anew, or show what its build says.
    Build(commands::build::Options),
    /// Run a function's own tests.
    Test(commands::test::Options),
    /// Delete functions.
    #[command(visible_alias = "rm")]
    Delete(commands::delete::Options),
    /// Print the JSON schema of a function's manifest, for editors.
    Schema,
    /// Print a completion script for a shell.
    Completion(commands::completion::Options),
    /// Print the version.
    Version(commands::version::Options),
}

// === impl Command ===

impl Command {
    /// Whether it is `fermata up`.
    pub(crate) fn is_up(&self) -> bool {
        match self {
            #[cfg(feature = "embedded")]
            Self::Up(_) => true,
            _ => false,
        }
    }

    /// What shows requests, where they are to be shown.
    pub(crate) fn requests(&self) -> Option<Requests> {
        match self {
            #[cfg(feature = "embedded")]
            Self::Up(options) if options.shows_requests() => Some(Box::new(Catcher::new().layer())),
            _ => None,
        }
    }
}

/// The command line as it is called: `fermata`, or `kubectl fermata` as kubectl's plugin.
pub(crate) fn command() -> clap::Command {
    let is_plugin = std::env::args_os().next().is_some_and(|program| {
        PathBuf::from(program)
            .file_stem()
            .is_some_and(|name| name == PLUGIN)
    });
    let command = without_cluster(Arguments::command());
    if !is_plugin {
        return command;
    }
    command
        .bin_name("kubectl fermata")
        .mut_subcommands(|command| {
            let examples = command
                .get_after_help()
                .map(|text| text.to_string().replace("  fermata ", "  kubectl fermata "));
            match examples {
                Some(examples) => command.after_help(examples),
                None => command,
            }
        })
}

/// The commands that work on no cluster of a kubeconfig.
const WITHOUT_CLUSTER: &[&str] = &[
    #[cfg(feature = "embedded")]
    "up",
    "init",
    "test",
    "schema",
    "completion",
    "version",
];

/// Keeps the flags that name a cluster out of the help of commands that use none. They are taken all the same:
/// who passes them to everything need not know.
fn without_cluster(command: clap::Command) -> clap::Command {
    let flags: Vec<Arg> = Target::augment_args(clap::Command::new(""))
        .get_arguments()
        .map(|flag| flag.clone().hide(true))
        .collect();
    WITHOUT_CLUSTER.iter().fold(command, |command, name| {
        command.mut_subcommand(name, |command| command.args(&flags))
    })
}

/// Sends the log to standard error: by default what goes wrong in the platform itself, short. `fermata
/// up` says what matters itself, and the libraries' own messages are for those who ask for them.
pub(crate) fn start_log(verbose: u8, up: bool, requests: Option<Requests>) {
    let default = match (verbose, up) {
        (0, true) => "off,fermata=warn",
        (0, false) => "off",
        (1, _) => "info,kube_client=warn,kube_runtime=warn,fermata::access=off",
        _ => "debug,hyper=info,h2=info,rustls=info,tower=info,fermata::access=off",
    };
    let asked = std::env::var_os(EnvFilter::DEFAULT_ENV).is_some();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = fmt::layer()
        .with_ansi(has_colours(&std::io::stderr()))
        .with_writer(output::log_writer());
    let log = if verbose == 0 && !asked {
        log.without_time().with_target(false).boxed()
    } else {
        log.boxed()
    };
    // A subscriber that is there already was put there by somebody who wants it.
    let _ = tracing_subscriber::registry()
        .with(requests)
        .with(log.with_filter(filter))
        .try_init();
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        command().debug_assert();
    }

    #[test]
    fn flags_of_a_cluster_are_where_one_is_used() {
        let names = |command: &mut clap::Command| {
            let help = command.render_long_help().to_string();
            help.contains("--kubeconfig")
        };
        let mut command = command();
        command.build();
        for subcommand in command.get_subcommands_mut() {
            let uses = !WITHOUT_CLUSTER.contains(&subcommand.get_name());
            assert_eq!(names(subcommand), uses, "{}", subcommand.get_name());
        }
    }

    #[test]
    fn a_cluster_that_is_not_used_may_be_named() {
        for words in [
            ["fermata", "--kubeconfig", "f", "version"],
            ["fermata", "version", "--kubeconfig", "f"],
        ] {
            let matches = command().try_get_matches_from(words).unwrap();
            let target = Target::from_arg_matches(&matches).unwrap();
            assert_eq!(target.kubeconfig, Some(PathBuf::from("f")));
        }
    }
}
