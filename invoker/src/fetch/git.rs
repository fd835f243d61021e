//! Runs git: its settings, its time, its output and what it fails for.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
    time::{Instant, sleep, sleep_until},
};

use super::{credentials::Credentials, error::Error};
use crate::{
    build::{registry::Sign, settings::Bounds, tree},
    process,
};

/// The most that is read of what git answers.
const LARGEST_OUTPUT: u64 = 64 << 20;

/// The most that is read of what it says.
const LARGEST_SAID: u64 = 64 << 10;

/// The longest line that is told.
const LONGEST_LINE: usize = 1000;

/// The most that may stand in the scratch folder: what was fetched, packed.
const MOST_FETCHED: Bounds = Bounds {
    bytes: 512 << 20,
    files: 200_000,
};

/// How often that is looked at while git runs.
const LOOK: Duration = Duration::from_secs(1);

/// Variables of this program that git sees as well.
const PASSED_ON: [&str; 9] = [
    "PATH",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// Settings that keep a repository from doing more than holding files, and a server from keeping git for ever.
const CONFIG: [&str; 12] = [
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.symlinks=true",
    "core.fsmonitor=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.version=2",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=20",
    // What others have set; the one of this fetch comes after it.
    "credential.helper=",
];

/// What git fails for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// The repository cannot be reached; another try may succeed.
    Away,
    /// It wants other credentials.
    NotAllowed,
    /// There is no such repository.
    NotFound,
    /// Anything else.
    Other,
}

/// git, with everything that it is given each time.
pub(super) struct Git {
    scratch: PathBuf,
    config: Vec<OsString>,
    ssh: Option<OsString>,
    timeout: Duration,
    deadline: Instant,
}

// === impl Git ===

impl Git {
    pub(super) fn new(scratch: &Path, credentials: Credentials, timeout: Duration) -> Self {
        let mut config: Vec<OsString> = CONFIG.map(OsString::from).into();
        if let Some(store) = credentials.store {
            let mut helper = OsString::from("credential.helper=store --file=");
            helper.push(quoted(&store));
            config.push(helper);
        }
        if let Some(authorities) = credentials.authorities {
            let mut option = OsString::from("http.sslCAInfo=");
            option.push(authorities);
            config.push(option);
        }
        let ssh = credentials.ssh.map(|(key, hosts)| {
            let mut command = OsString::from(
                "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null \
                 -o IdentitiesOnly=yes -o IdentityAgent=none -o ConnectTimeout=20 -o UserKnownHostsFile=",
            );
            command.push(quoted(&hosts));
            command.push(" -i ");
            command.push(quoted(&key));
            command
        });
        Self {
            scratch: scratch.to_owned(),
            config,
            ssh,
            timeout,
            deadline: Instant::now() + timeout,
        }
    }

    /// A folder of its own.
    pub(super) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Runs git in a folder, and gives what it writes to standard output.
    pub(super) async fn run<A: AsRef<OsStr>>(
        &self,
        dir: &Path,
        arguments: impl IntoIterator<Item = A>,
        variables: &[(&str, &Path)],
    ) -> Result<Vec<u8>, Error> {
        let mut command = Command::new("git");
        for option in &self.config {
            command.arg("-c").arg(option);
        }
        command
            .args(arguments)
            .current_dir(dir)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in PASSED_ON {
            command.envs(env::var_os(name).map(|value| (name, value)));
        }
        command
            .envs([
                ("LC_ALL", "C"),
                ("GIT_TERMINAL_PROMPT", "0"),
                ("GIT_CONFIG_NOSYSTEM", "1"),
                ("GIT_CONFIG_GLOBAL", "/dev/null"),
                ("GIT_ATTR_NOSYSTEM", "1"),
                ("GIT_ALLOW_PROTOCOL", "http:https:ssh"),
                ("GIT_LFS_SKIP_SMUDGE", "1"),
            ])
            .env("HOME", &self.scratch)
            // No repository is looked for above it.
            .envs(
                self.scratch
                    .parent()
                    .map(|above| ("GIT_CEILING_DIRECTORIES", above)),
            )
            .envs(self.ssh.iter().map(|ssh| ("GIT_SSH_COMMAND", ssh)))
            .envs(variables.iter().copied());
        let mut running = process::spawn(&mut command, || {}).map_err(Error::NoGit)?;
        let pipes = running.stdout.take().zip(running.stderr.take());
        let (stdout, stderr) = pipes.ok_or_else(|| io::Error::other("a process has no pipes"))?;
        let work = async {
            let read = tokio::try_join!(read(stdout, LARGEST_OUTPUT), read(stderr, LARGEST_SAID));
            let status = (&mut running.status)
                .await
                .map_err(|_| io::Error::other("the end of a process was missed"))?;
            Ok::<_, io::Error>((status, read?))
        };
        let (status, (output, said)) = tokio::select! {
            done = work => done?,
            () = sleep_until(self.deadline) => {
                running.group.kill();
                return Err(Error::TimedOut(self.timeout.as_secs()));
            }
            () = self.exceeded() => {
                running.group.kill();
                return Err(Error::TooLarge(MOST_FETCHED.bytes));
            }
        };
        running.group.ended();
        if status.success() {
            return Ok(output);
        }
        let said = String::from_utf8_lossy(&said);
        // A log that cannot be written is no reason to stop.
        let _ = io::stderr().lock().write_all(said.as_bytes());
        let (failure, line) = judge(&said);
        Err(Error::Git {
            failure,
            said: if line.is_empty() {
                format!("git {}", process::how(status))
            } else {
                line.to_owned()
            },
        })
    }

    /// Ends when more was fetched than may be.
    async fn exceeded(&self) {
        loop {
            sleep(LOOK).await;
            let scratch = self.scratch.clone();
            let measured =
                tokio::task::spawn_blocking(move || tree::measure(&scratch, MOST_FETCHED)).await;
            if let Ok(Ok(size)) = measured
                && size.exceeds(MOST_FETCHED)
            {
                return;
            }
        }
    }
}

/// A word of a shell.
fn quoted(path: &Path) -> OsString {
    let text = path.to_string_lossy().replace('\'', r"'\''");
    format!("'{text}'").into()
}

async fn read(stream: impl AsyncRead + Unpin, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut limited = stream.take(most);
    limited.read_to_end(&mut bytes).await?;
    // The rest is read too: who writes must not wait for ever.
    tokio::io::copy(&mut limited.into_inner(), &mut tokio::io::sink()).await?;
    Ok(bytes)
}

/// What git fails for, and the line that tells it.
fn judge(said: &str) -> (Failure, &str) {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let found = |words: &[&str]| {
        lines().find(|line| {
            let line = line.to_lowercase();
            words.iter().any(|word| line.contains(word))
        })
    };
    let not_allowed = found(&[
        "authentication failed",
        "could not read username",
        "could not read password",
        "permission denied",
        "host key verification failed",
        "returned error: 401",
        "returned error: 403",
        "access denied",
    ]);
    let not_found = || {
        found(&[
            "repository not found",
            "returned error: 404",
            "does not appear to be a git repository",
            "' not found",
        ])
    };
    let away = || {
        let signs = lines().find(|line| Sign::of(line).is_some_and(Sign::passes));
        signs.or_else(|| {
            found(&[
                "returned error: 5",
                "returned error: 429",
                "operation too slow",
                "hung up unexpectedly",
                "early eof",
                "rpc failed",
                "empty reply from server",
            ])
        })
    };
    let fatal = || {
        lines()
            .find(|line| line.starts_with("fatal:") || line.starts_with("error:"))
            .or_else(|| lines().next_back())
    };
    let (failure, line) = if let Some(line) = not_allowed {
        (Failure::NotAllowed, line)
    } else if let Some(line) = not_found() {
        (Failure::NotFound, line)
    } else if let Some(line) = away() {
        (Failure::Away, line)
    } else {
        (Failure::Other, fatal().unwrap_or_default())
    };
    let end = line.floor_char_boundary(LONGEST_LINE);
    (failure, line.get(..end).unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_is_understood() {
        for (said, failure) in [
            (
                "fatal: unable to access 'http://127.0.0.1:9/a/': Failed to connect to 127.0.0.1 port 9 after 0 ms: Couldn't connect to server",
                Failure::Away,
            ),
            (
                "fatal: unable to access 'https://no.example/': Could not resolve host: no.example",
                Failure::Away,
            ),
            (
                "fatal: unable to access 'http://h/': The requested URL returned error: 503",
                Failure::Away,
            ),
            (
                "fatal: could not read Username for 'https://h': terminal prompts disabled",
                Failure::NotAllowed,
            ),
            (
                "git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                Failure::NotAllowed,
            ),
            (
                "remote: Not Found\nfatal: repository 'http://h/a/' not found",
                Failure::NotFound,
            ),
            ("fatal: something else", Failure::Other),
        ] {
            assert_eq!(judge(said).0, failure, "{said}");
        }
        assert_eq!(judge("hint: a\nfatal: b\nc").1, "fatal: b");
        assert_eq!(judge(""), (Failure::Other, ""));
    }
}
