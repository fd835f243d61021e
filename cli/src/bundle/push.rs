//! Pushes a bundle.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tokio::{process::Command, time};

use super::{Bundle, git};
use crate::git::{BUNDLES_PREFIX, TOO_MANY, UNDER_WAY};

/// The longest that a push may take.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// How long a push is tried again while another one of the function is under way.
const WHILE_BUSY: Duration = Duration::from_secs(120);

/// The same while what takes pushes is not there, as when it starts.
const WHILE_AWAY: Duration = Duration::from_secs(20);

const PAUSE: Duration = Duration::from_millis(500);

/// What is said while another push is under way, or too many are.
const BUSY: [&str; 2] = [UNDER_WAY, TOO_MANY];

/// The same when what takes pushes is not there.
const AWAY: [&str; 6] = [
    "error: 404",
    "error: 502",
    "error: 503",
    "error: 504",
    "Failed to connect",
    "Connection refused",
];

/// The most lines of what git says that are told.
const MOST_LINES: usize = 5;

/// A bundle that is to be pushed.
pub(super) struct Push<'a> {
    pub(super) bundle: &'a Bundle,
    /// The repository.
    pub(super) url: String,
    /// What is sent with each request, `NAME: VALUE`.
    pub(super) headers: Vec<String>,
    pub(super) function: &'a str,
    /// Whether the repository is on this machine, or in this pod.
    pub(super) is_near: bool,
}

/// How a push has ended well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Stored,
    /// It was there.
    Known,
}

// === impl Push ===

impl Push<'_> {
    /// Pushes the bundle, again and again while another push is under way or what takes pushes starts.
    ///
    /// # Errors
    ///
    /// With what is said there when it is not taken.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends git; what was sent is stored as a whole or not at all.
    pub(super) async fn run(&self) -> anyhow::Result<Outcome> {
        let begin = Instant::now();
        loop {
            let output = time::timeout(LONGEST, self.git()?.output()).await;
            let output = output
                .with_context(|| format!("a push to {} took too long", self.url))?
                .map_err(git::missing)?;
            if output.status.success() {
                let printed = String::from_utf8_lossy(&output.stdout);
                let is_known = printed.lines().any(|line| line.starts_with('='));
                return Ok(if is_known {
                    Outcome::Known
                } else {
                    Outcome::Stored
                });
            }
            let said = String::from_utf8_lossy(&output.stderr);
            let is = |signs: &[&str]| signs.iter().any(|sign| said.contains(sign));
            let patience = if is(&BUSY) {
                WHILE_BUSY
            } else if is(&AWAY) {
                WHILE_AWAY
            } else {
                Duration::ZERO
            };
            if begin.elapsed() >= patience {
                bail!(
                    "{} does not take the files of {}: {}",
                    self.url,
                    self.function,
                    telling(&said)
                );
            }
            time::sleep(PAUSE).await;
        }
    }

    fn git(&self) -> anyhow::Result<Command> {
        let headers = self.headers.iter();
        let mut settings: Vec<(&str, &str)> = headers
            .map(|header| ("http.extraHeader", header.as_str()))
            .collect();
        if self.is_near {
            // What is on this machine, or in this pod, is not reached by a proxy.
            settings.push(("http.proxy", ""));
        }
        let commit = &self.bundle.commit;
        let mut git = git::command(&self.bundle.path()?, &settings);
        git.args(["push", "--porcelain", "--no-verify", &self.url])
            .arg(format!("{commit}:{BUNDLES_PREFIX}{commit}"))
            .stdin(Stdio::null());
        let mut git = Command::from(git);
        git.kill_on_drop(true);
        Ok(git)
    }
}

/// What is worth telling of what git says: the words of the other side, or else its own.
fn telling(said: &str) -> String {
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let remote = lines
        .clone()
        .filter_map(|line| line.strip_prefix("remote:"));
    let mut told: Vec<&str> = remote.map(str::trim).collect();
    told.retain(|line| !line.is_empty());
    if told.is_empty() {
        told = lines.collect();
    }
    told.truncate(MOST_LINES);
    told.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_sides_words_are_told() {
        let said = "remote: no room \nremote: \nfatal: unable to access 'http://x/': The requested URL returned error: 507\n";
        assert_eq!(telling(said), "no room");
        assert_eq!(telling("fatal: x\n\n"), "fatal: x");
    }
}
