//! git, with no settings but those that are given here.

use std::{env, ffi::OsStr, io, path::Path, process::Output};

use anyhow::{Context as _, bail};

/// There is no git on this machine.
#[derive(Debug, thiserror::Error)]
#[error(
    "a folder that is too large for a manifest is carried by git, and there is no git on PATH; install it, or leave files out in .fermataignore"
)]
pub(crate) struct NoGit;

/// Variables of this program that git sees as well: where programs and folders are, how the network is reached, and whom
/// to trust there.
const PASSED_ON: [&str; 13] = [
    "PATH",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
];

/// Settings in place of those of machine, user and repository. A commit follows from the files alone.
const SETTINGS: [(&str, &str); 15] = [
    ("core.hooksPath", "/dev/null"),
    ("core.attributesFile", "/dev/null"),
    ("core.autocrlf", "false"),
    ("core.fsmonitor", "false"),
    // What is larger is not held in memory as a whole.
    ("core.bigFileThreshold", "1m"),
    ("core.compression", "1"),
    ("pack.threads", "1"),
    ("fastimport.unpackLimit", "1"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("push.gpgSign", "false"),
    ("credential.helper", ""),
    // A token goes nowhere else.
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "60"),
];

/// A command of git on a repository, with further settings, which no argument shows.
pub(super) fn command(repository: &Path, settings: &[(&str, &str)]) -> std::process::Command {
    let mut git = std::process::Command::new("git");
    git.env_clear();
    for name in PASSED_ON {
        git.envs(env::var_os(name).map(|value| (name, value)));
    }
    git.envs([
        ("LC_ALL", "C"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_ALLOW_PROTOCOL", "http:https"),
    ])
    // No settings, and no passwords of curl (~/.netrc).
    .env("HOME", repository)
    .env("GIT_DIR", repository)
    .current_dir(repository);
    let all = SETTINGS.iter().chain(settings);
    let mut count = 0;
    for (key, value) in all {
        git.env(format!("GIT_CONFIG_KEY_{count}"), key);
        git.env(format!("GIT_CONFIG_VALUE_{count}"), value);
        count += 1;
    }
    git.env("GIT_CONFIG_COUNT", count.to_string());
    git
}

/// Runs git on a repository, and gives what it prints.
///
/// # Errors
///
/// When it is not there, or fails.
pub(super) fn run<A: AsRef<OsStr>>(
    repository: &Path,
    arguments: impl IntoIterator<Item = A>,
) -> anyhow::Result<String> {
    let output = command(repository, &[]).args(arguments).output();
    said(output.map_err(missing)?)
}

/// What a command has printed.
///
/// # Errors
///
/// With what it says when it failed.
pub(super) fn said(output: Output) -> anyhow::Result<String> {
    if !output.status.success() {
        bail!(
            "git {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).context("git prints no text")
}

/// Why git cannot be started.
pub(super) fn missing(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::NotFound {
        return NoGit.into();
    }
    anyhow::Error::new(error).context("git cannot be started")
}
