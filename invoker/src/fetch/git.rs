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

use super::{credentials::Credentials, error::Error, memory};
use crate::{
    build::{registry::Sign, room, settings::Bounds, tree},
    process,
};

/// The most that is read of what git answers.
const LARGEST_OUTPUT: u64 = 64 << 20;

/// The most memory that git and what it starts may take: what a server lists, and what packs hold in little room, is
/// others' to say.
const MOST_MEMORY: u64 = 512 << 20;

/// How often that is looked at while git runs: a network fills memory fast.
const LOOK_AT_MEMORY: Duration = Duration::from_millis(200);

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
const PASSED_ON: [&str; 10] = [
    "PATH",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// Settings that keep a repository from doing more than holding files, and a server from keeping git for ever.
const CONFIG: [&str; 13] = [
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.symlinks=true",
    "core.fsmonitor=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    // What is larger is not held in memory as a whole.
    "core.bigFileThreshold=16m",
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
    /// The host does not take the key.
    KeyRefused,
    /// The host is another one than those that are known.
    UnknownHost,
    /// There is no such repository.
    NotFound,
    /// What the repository holds is damaged.
    Damaged,
    /// What answers is no git repository, such as the page of one.
    NoRepository,
    /// Git LFS does not keep what a commit names.
    NoObject,
    /// There is no room for what it holds.
    NoRoom,
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
            let read = tokio::try_join!(read(stdout, LARGEST_OUTPUT), async {
                Ok(drained(stderr, LARGEST_SAID).await?)
            })?;
            let status = (&mut running.status)
                .await
                .map_err(|_| io::Error::other("the end of a process was missed"))?;
            Ok::<_, Error>((status, read))
        };
        let group = running.group.id();
        let (status, (output, said)) = tokio::select! {
            // What is listed without end is not waited for: leaving this kills git.
            done = work => done?,
            () = sleep_until(self.deadline) => {
                running.group.kill();
                return Err(Error::TimedOut(self.timeout.as_secs()));
            }
            exceeded = self.exceeded(group) => {
                running.group.kill();
                return Err(exceeded);
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

    /// Ends when more was fetched than may be, or git takes more memory.
    async fn exceeded(&self, group: Option<i32>) -> Error {
        let fetched = async {
            loop {
                sleep(LOOK).await;
                let scratch = self.scratch.clone();
                let measured =
                    tokio::task::spawn_blocking(move || tree::measure(&scratch, MOST_FETCHED))
                        .await;
                if let Ok(Ok(size)) = measured
                    && size.exceeds(MOST_FETCHED)
                {
                    return Error::TooLarge(MOST_FETCHED.bytes);
                }
            }
        };
        let memory = async {
            loop {
                sleep(LOOK_AT_MEMORY).await;
                let taken =
                    tokio::task::spawn_blocking(move || group.map_or(0, memory::of_group)).await;
                if taken.is_ok_and(|taken| taken > MOST_MEMORY) {
                    return Error::Memory(MOST_MEMORY);
                }
            }
        };
        tokio::select! {
            error = fetched => error,
            error = memory => error,
        }
    }
}

/// A word of a shell.
fn quoted(path: &Path) -> OsString {
    let text = path.to_string_lossy().replace('\'', r"'\''");
    format!("'{text}'").into()
}

/// All that is written, within a bound.
async fn read(stream: impl AsyncRead + Unpin, most: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    stream.take(most + 1).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > most {
        return Err(Error::LongList(most));
    }
    Ok(bytes)
}

/// The beginning of what is written.
async fn drained(stream: impl AsyncRead + Unpin, most: u64) -> io::Result<Vec<u8>> {
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
    let unknown_host = || {
        found(&["host key verification failed"])?;
        // What says more stands before it.
        found(&["host key is known for", "host key for"])
            .or_else(|| found(&["host key verification failed"]))
    };
    let key_refused = || {
        let refused = found(&["permission denied (publickey"])?;
        Some(found(&["load key "]).map_or(refused, without_path))
    };
    let damaged = || {
        found(&[
            "corrupt",
            "inflate: data stream error",
            "bad object",
            "unable to read tree",
            "missing blob",
            "missing tree",
        ])
    };
    let not_allowed = found(&[
        "authentication failed",
        "could not read username",
        "could not read password",
        "permission denied",
        "returned error: 401",
        "returned error: 403",
        "access denied",
        "git credentials for ",
        "authorization error",
        "authentication required",
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
                "server error: http",
                "server error http",
                "\": eof",
                "temporarily unavailable",
                "rate limit exceeded",
            ])
        })
    };
    let fatal = || {
        lines()
            .find(|line| line.starts_with("fatal:") || line.starts_with("error:"))
            .or_else(|| lines().next_back())
    };
    let no_object = || found(&["object does not exist", "repository or object not found"]);
    let no_repository = || found(&["is this a git repository?"]);
    let (failure, line) = if let Some(line) = lines().find(|line| room::is_missed_in(line)) {
        (Failure::NoRoom, line)
    } else if let Some(line) = unknown_host() {
        (Failure::UnknownHost, line)
    } else if let Some(line) = key_refused() {
        (Failure::KeyRefused, line)
    } else if let Some(line) = not_allowed {
        (Failure::NotAllowed, line)
    } else if let Some(line) = no_object() {
        (Failure::NoObject, line)
    } else if let Some(line) = not_found() {
        (Failure::NotFound, line)
    } else if let Some(line) = no_repository() {
        (Failure::NoRepository, line)
    } else if let Some(line) = damaged() {
        (Failure::Damaged, line)
    } else if let Some(line) = away() {
        (Failure::Away, line)
    } else {
        (Failure::Other, fatal().unwrap_or_default())
    };
    let end = line.floor_char_boundary(LONGEST_LINE);
    (failure, line.get(..end).unwrap_or(line))
}

/// What ssh says of a key, without the file that it is in for the moment.
fn without_path(line: &str) -> &str {
    line.rsplit_once("\": ").map_or(line, |(_, said)| said)
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
                Failure::KeyRefused,
            ),
            (
                "No ED25519 host key is known for h and you have requested strict checking.\nHost key verification failed.\nfatal: Could not read from remote repository.",
                Failure::UnknownHost,
            ),
            (
                "remote: fatal: loose object 1 (stored in ./objects/1) is corrupt\nremote: aborting due to possible repository corruption on the remote side.\nfatal: early EOF",
                Failure::Damaged,
            ),
            (
                "remote: Not Found\nfatal: repository 'http://h/a/' not found",
                Failure::NotFound,
            ),
            (
                "fatal: https://h/a/b/info/refs not valid: is this a git repository?",
                Failure::NoRepository,
            ),
            (
                "fatal: write error: No space left on device\nfatal: early EOF",
                Failure::NoRoom,
            ),
            (
                "fatal: could not read Username for 'http://h': terminal prompts disabled\nbatch response: Git credentials for http://h/a not found.\nerror: failed to fetch some objects from 'http://h/a.git/info/lfs'",
                Failure::NotAllowed,
            ),
            (
                "[69a0] Object does not exist on the server: [404] Object does not exist on the server\nerror: failed to fetch some objects from 'http://h/a.git/info/lfs'",
                Failure::NoObject,
            ),
            (
                "batch response: Post \"http://127.0.0.1:9/a.git/info/lfs/objects/batch\": dial tcp 127.0.0.1:9: connect: connection refused\nerror: failed to fetch some objects from 'http://127.0.0.1:9/a.git/info/lfs'",
                Failure::Away,
            ),
            (
                "batch response: Server error https://h/a.git/info/lfs/objects/batch from HTTP 503\nerror: failed to fetch some objects from 'https://h/a.git/info/lfs'",
                Failure::Away,
            ),
            ("batch response: Post \"https://h/x\": EOF", Failure::Away),
            ("fatal: something else", Failure::Other),
        ] {
            assert_eq!(judge(said).0, failure, "{said}");
        }
        assert_eq!(judge("hint: a\nfatal: b\nc").1, "fatal: b");
        let key =
            "Load key \"/tmp/x/key\": error in libcrypto\ngit@h: Permission denied (publickey).";
        assert_eq!(judge(key), (Failure::KeyRefused, "error in libcrypto"));
        let host = "Host key for h has changed and you have requested strict checking.\nHost key verification failed.";
        assert!(judge(host).1.starts_with("Host key for h has changed"));
        assert_eq!(judge(""), (Failure::Other, ""));
    }
}
