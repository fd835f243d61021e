//! Pushes that were broken off: what is applied is put back to what the branch says.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{process::Command, time};

use super::{
    HOOK_COMMAND,
    credentials::Credentials,
    repository::{Repository, Root},
    told,
};

/// How long it may take to apply what ran before: nothing is waited for that is built or starts.
const LONGEST: Duration = Duration::from_secs(120);

/// Settles the push of a repository that was begun and has not ended, if there is one. Whoever calls this holds the right
/// to push.
///
/// # Errors
///
/// When what ran before cannot be applied again, with the reason; the note of the push stays.
///
/// # Cancel safety
///
/// Dropping the future leaves the note, so that it is done again.
pub(super) async fn settle(
    root: &Root,
    (namespace, name): (&str, &str),
    repository: &Repository,
    credentials: &Credentials,
) -> anyhow::Result<()> {
    let Some(pushing) = repository.pushing() else {
        return Ok(());
    };
    let (own, reference) = (repository.clone(), pushing.reference.clone());
    let branch = tokio::task::spawn_blocking(move || own.branch(&reference)).await??;
    // A first push has nothing before it, and a function that was deleted since is not made again.
    let former = branch.filter(|commit| *commit != pushing.new);
    if let Some(commit) = former {
        let uid = credentials.uid(namespace, name).await?;
        let known = repository.uid();
        if uid.is_some() && known.is_none_or(|known| Some(known) == uid) {
            apply(root, (namespace, name), repository, credentials, commit).await?;
        }
    }
    Ok(repository.end_push()?)
}

/// Settles what there is when this starts, and removes what killed pushes have left.
pub(super) async fn settle_all(root: &Root, credentials: Option<&Credentials>) {
    let all = root.clone();
    let repositories = tokio::task::spawn_blocking(move || {
        let repositories = all.repositories()?;
        for (.., repository) in &repositories {
            repository.tidy_up()?;
        }
        std::io::Result::Ok(repositories)
    });
    let repositories = match repositories.await.unwrap_or_else(|error| Err(error.into())) {
        Ok(repositories) => repositories,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "what killed pushes have left is not removed");
            return;
        }
    };
    let Some(credentials) = credentials else {
        return;
    };
    for (namespace, name, repository) in repositories {
        if repository.pushing().is_none() {
            continue;
        }
        let settled = async {
            let Some(_held) = repository.lock()? else {
                return Ok(());
            };
            settle(root, (&namespace, &name), &repository, credentials).await
        };
        if let Err(error) = settled.await {
            warn(&namespace, &name, &error);
        }
    }
}

/// Says in the log what could not be settled.
pub(super) fn warn(namespace: &str, name: &str, error: &anyhow::Error) {
    let error = &**error as &dyn std::error::Error;
    tracing::warn!(
        error,
        namespace,
        function = name,
        "a push was broken off, and what ran before it cannot be applied again"
    );
}

/// Applies a commit with the hook's own program, as that does when it refuses a push.
async fn apply(
    root: &Root,
    (namespace, name): (&str, &str),
    repository: &Repository,
    credentials: &Credentials,
    commit: String,
) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("this program cannot find itself")?;
    let mut command = Command::new(program);
    command
        .arg(HOOK_COMMAND)
        .current_dir(repository.path())
        .env_clear()
        .envs(root.variables())
        .envs(credentials.told())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(std::env::var_os("HOME").map(|home| ("HOME", home)))
        .env("GIT_DIR", ".")
        .env(told::ROOT, root.path())
        .env(told::NAMESPACE, namespace)
        .env(told::NAME, name)
        .env(told::SETTLES, commit)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let child = command.spawn().context("fermata cannot be started")?;
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let Ok(output) = time::timeout(LONGEST, child.wait_with_output()).await else {
        if let Some(group) = id.and_then(Pid::from_raw) {
            // What has ended meanwhile needs no end.
            let _ = kill_process_group(group, Signal::KILL);
        }
        bail!("it took more than {} s", LONGEST.as_secs());
    };
    let output = output?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}", said.trim().trim_start_matches("error: "));
    }
    Ok(())
}
