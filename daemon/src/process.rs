//! How a program begins, and how it ends.

use std::{error::Error, io, process::ExitCode};

use clap::Args;
use fermata_listen::files;
use kube::{Client, Config, config::InferConfigError};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::log;

/// Threads of a program's own work, which mostly waits for the API server.
const THREADS: usize = 2;

/// What every program can be told.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Settings {
    /// How log lines are written. What is logged is set by RUST_LOG; default: info.
    #[arg(long, env = "FERMATA_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: log::Format,
}

/// Why a program cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log has no thread, or no way out.
    #[error("cannot begin the log")]
    Log(#[source] io::Error),
    /// There are no threads to work with.
    #[error("cannot start threads")]
    Threads(#[source] io::Error),
    /// Nobody could end the program.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// There is no configuration of a cluster.
    #[error("there is no cluster to work on; run in a pod, or give a kubeconfig in KUBECONFIG")]
    NoCluster(#[source] InferConfigError),
    /// There is one, and it does not work.
    #[error("the configuration of the cluster cannot be used")]
    Cluster(#[source] kube::Error),
}

/// A failure of any kind.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Runs a program to its end: begins its log, raises the limit of open files, and does the work, which is to end when it is told to by the token: on SIGTERM, or on Ctrl-C.
///
/// The exit code is 0, or 1 with one sentence on standard error.
pub fn run<W>(settings: Settings, work: W) -> ExitCode
where
    W: AsyncFnOnce(CancellationToken) -> Result<(), Failure>,
{
    match begin(settings, work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&*error);
            ExitCode::FAILURE
        }
    }
}

fn begin<W>(settings: Settings, work: W) -> Result<(), Failure>
where
    W: AsyncFnOnce(CancellationToken) -> Result<(), Failure>,
{
    let files = files::raise();
    let _log = log::start(settings.log_format).map_err(StartError::Log)?;
    info!(files = files.limit, "files that may be open at once");
    // Fails only if a provider is installed already: this program's own crates know no other.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(StartError::Threads)?;
    runtime.block_on(async {
        // Before anything else: to the first process of a container, a signal that nobody waits for is nothing.
        let shutdown = shutdown().map_err(StartError::Signals)?;
        work(shutdown).await
    })
}

/// A token that is cancelled when the process is asked to end.
fn shutdown() -> io::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let stop = shutdown.clone();
    // Ends with the runtime.
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(shutdown)
}

/// The way to the cluster that the environment names.
///
/// # Errors
///
/// When it names none, or one that cannot be used.
pub async fn client() -> Result<Client, StartError> {
    Client::try_from(config().await?).map_err(StartError::Cluster)
}

/// How the cluster is reached that the environment names.
///
/// # Errors
///
/// When it names none.
pub async fn config() -> Result<Config, StartError> {
    let mut config = Config::infer().await.map_err(StartError::NoCluster)?;
    // The client itself would try again after up to minutes what an overloaded API server, or one that
    // has just begun, refuses. Who calls it knows better when: watches and writes have waits of their own.
    config.default_retry = false;
    Ok(config)
}

#[allow(clippy::print_stderr, reason = "it is what the caller gets to read")]
fn complain(error: &(dyn Error + 'static)) {
    eprintln!("error: {}", sentence(error));
}

/// An error and its causes in one sentence. Some errors say their cause themselves, which is enough.
fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !sentence.contains(&text) {
            sentence.push_str(": ");
            sentence.push_str(&text);
        }
        cause = error.source();
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot listen; choose another address")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_failure_is_one_sentence_with_its_causes() {
        let error = Outer(io::Error::other("it is taken"));
        assert_eq!(
            sentence(&error),
            "cannot listen; choose another address: it is taken"
        );
    }
}
