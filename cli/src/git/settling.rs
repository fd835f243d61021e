//! Pushes that were broken off: what is applied is put back to what the branch says.

use std::{
    fs::File,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tokio::{io::AsyncReadExt as _, process::Command, time};

use super::{
    HOOK_COMMAND,
    cgi::Running,
    credentials::Credentials,
    repository::{Repository, Root},
    told,
    within::Within,
};
use crate::errors;

/// How long it may take to apply what ran before: nothing is waited for that is built or starts.
const LONGEST: Duration = Duration::from_secs(120);

/// The most that is read of what it says, in bytes.
const MOST_SAID: u64 = 64 * 1024;

/// How long those who were killed may take to be gone, and how often it is looked.
const LEAVE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A push that was broken off, and why what ran before it is not applied again.
pub(super) struct Unsettled {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) error: anyhow::Error,
}

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
    within: Option<&Within>,
) -> anyhow::Result<()> {
    let Some(pushing) = repository.pushing() else {
        return Ok(());
    };
    let own = repository.clone();
    let former = move || -> anyhow::Result<Option<String>> {
        if own.branch(&pushing.reference)?.as_ref() == Some(&pushing.new) {
            // It was taken.
            return Ok(None);
        }
        own.set_head(&pushing.ran)?;
        own.branch(&pushing.ran)
    };
    let former = tokio::task::spawn_blocking(former).await??;
    // A first push has nothing before it, and a function that was deleted since is not made again.
    if let Some(commit) = former {
        let uid = credentials.uid(namespace, name).await?;
        let known = repository.uid();
        if uid.is_some() && known.is_none_or(|known| Some(known) == uid) {
            let function = (namespace, name);
            apply(root, function, repository, credentials, within, commit).await?;
        }
    }
    Ok(repository.end_push()?)
}

/// Removes the files that killed hooks were deploying. What is being deployed stays.
pub(super) async fn remove_checkouts(root: &Root) {
    let all = root.clone();
    let removed = tokio::task::spawn_blocking(move || all.remove_checkouts()).await;
    if let Err(error) = removed.unwrap_or_else(|error| Err(error.into())) {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "the files of killed pushes stay");
    }
}

/// Removes what pushes that were killed before `begun` have left, and settles them where nobody's token is needed for it.
/// What could not be settled, with the reasons.
pub(super) async fn settle_all(
    root: &Root,
    credentials: Option<&Credentials>,
    within: Option<&Within>,
    begun: Instant,
) -> Vec<Unsettled> {
    let all = root.clone();
    let found = tokio::task::spawn_blocking(move || {
        let mut repositories = all.repositories()?;
        // Of one that cannot be looked at, the removal says why.
        repositories.retain(|(.., repository)| {
            repository.has_leftovers().unwrap_or(true) || repository.pushing().is_some()
        });
        std::io::Result::Ok(repositories)
    });
    let found = found.await.unwrap_or_else(|error| Err(error.into()));
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "it is not known what killed pushes have left");
            return Vec::new();
        }
    };
    let mut unsettled = Vec::new();
    for (namespace, name, repository) in found {
        let settled = async {
            let Some(_held) = lock(&repository).await? else {
                return Ok(());
            };
            let own = repository.clone();
            // Those who push meanwhile and hear that another push is under way write here too.
            let removed = move || own.remove_leftovers(begun.elapsed());
            tokio::task::spawn_blocking(removed).await??;
            match credentials {
                Some(own) => settle(root, (&namespace, &name), &repository, own, within).await,
                None => Ok(()),
            }
        };
        if let Err(error) = settled.await {
            unsettled.push(Unsettled {
                namespace,
                name,
                error,
            });
        }
    }
    unsettled
}

/// The right to push. Whoever was killed may not be gone yet; who has it for longer lives, and it is its push.
async fn lock(repository: &Repository) -> std::io::Result<Option<File>> {
    let end = Instant::now() + LEAVE;
    loop {
        let held = repository.lock()?;
        if held.is_some() || Instant::now() >= end {
            return Ok(held);
        }
        time::sleep(LOOK_AGAIN).await;
    }
}

// === impl Unsettled ===

impl Unsettled {
    /// Whether another try may do better.
    #[cfg(feature = "embedded")]
    pub(super) fn may_pass(&self) -> bool {
        !errors::is_refusal(&self.error)
    }

    /// Says it in the log.
    pub(super) fn warn(&self) {
        let error = &*self.error as &dyn std::error::Error;
        tracing::warn!(
            error,
            namespace = self.namespace,
            function = self.name,
            "a push was broken off, and what ran before it cannot be applied again"
        );
    }
}

/// Applies a commit with the hook's own program, as that does when it refuses a push.
async fn apply(
    root: &Root,
    function: (&str, &str),
    repository: &Repository,
    credentials: &Credentials,
    within: Option<&Within>,
    commit: String,
) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("this program cannot find itself")?;
    let mut command = Command::new(program);
    command
        .arg(HOOK_COMMAND)
        .current_dir(repository.path())
        .env_clear()
        .envs(root.variables(false))
        .envs(told::hook(root, function, credentials, within))
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(std::env::var_os("HOME").map(|home| ("HOME", home)))
        .env("GIT_DIR", ".")
        .env(told::SETTLES, commit)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().context("fermata cannot be started")?;
    let stderr = child.stderr.take();
    // The hook has children of its own, which end with it.
    let mut running = Running::of(child);
    let mut said = Vec::new();
    let ended = async {
        if let Some(stderr) = stderr {
            stderr.take(MOST_SAID).read_to_end(&mut said).await?;
        }
        running.child.wait().await
    };
    let Ok(ended) = time::timeout(LONGEST, ended).await else {
        bail!("it took more than {} s", LONGEST.as_secs());
    };
    let status = ended?;
    if status.code().is_some() {
        running.leave();
    }
    if !status.success() {
        return Err(errors::of_child(status, &said));
    }
    Ok(())
}
