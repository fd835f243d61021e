//! One run of one target.

use std::{
    fmt, fs,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{TIME, target::Target};
use crate::shell;

/// How much longer than it was told a target may take, for one input and to make it smaller.
const GRACE: Duration = Duration::from_secs(60);

/// As many lines of what a failed target said are shown.
const LINES: usize = 200;

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    /// How many inputs were tried.
    pub(super) runs: u64,
    /// What the failing input was made of.
    pub(super) seed: Option<String>,
    /// What the target said.
    pub(super) said: String,
}

/// Whether all was well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Passed,
    Failed,
    /// One input took so long that nobody waited for it.
    Hung,
}

// === impl Verdict ===

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Hung => "HUNG",
        })
    }
}

/// Runs a target for so long.
pub(super) fn of(target: &Target, time: Duration) -> anyhow::Result<Outcome> {
    // Through a file: a pipe that nobody reads meanwhile could fill up.
    let folder = shell::root().join("target/fuzz");
    fs::create_dir_all(&folder).context("cannot make the folder target/fuzz")?;
    let path = folder.join(target.log());
    let cannot_write = || format!("cannot write {}", path.display());
    let log = fs::File::create(&path).with_context(cannot_write)?;
    let mut child = target
        .command()
        .env(TIME, time.as_millis().to_string())
        // The input says more than the engine's own frames.
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(log.try_clone().with_context(cannot_write)?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot run {target}"))?;
    let started = Instant::now();
    let verdict = loop {
        match child.try_wait().context("cannot wait for the target")? {
            Some(status) if status.success() => break Verdict::Passed,
            Some(_) => break Verdict::Failed,
            None if started.elapsed() > time + GRACE => {
                child.kill().context("cannot end the target")?;
                child.wait().context("cannot wait for the target")?;
                break Verdict::Hung;
            }
            None => thread::sleep(Duration::from_millis(50)),
        }
    };
    let said = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(read(verdict, &String::from_utf8_lossy(&said)))
}

/// What bolero's words mean.
fn read(verdict: Verdict, said: &str) -> Outcome {
    let runs = said
        .split("rng inputs: ")
        .nth(1)
        .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0);
    let seed = said
        .lines()
        .find_map(|line| line.strip_prefix("BOLERO_RANDOM_SEED="));
    let seed = seed.map(|seed| seed.trim().to_owned());
    // The failure comes before the words of the test harness about it.
    let from = said.find("= Test Failure =").unwrap_or(0);
    let lines: Vec<&str> = said[from..].lines().take(LINES).collect();
    Outcome {
        verdict,
        runs,
        seed,
        said: lines.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_engine_are_understood() {
        let passed = "running 1 test\ntest a ...\trun time: 3s | iterations/s: 9 | rng inputs: 27 | exit reason: max\nok\n";
        assert_eq!(read(Verdict::Passed, passed).runs, 27);
        let failed = "test a ...\trun time: 1s | iterations/s: 9 | rng inputs: 9 | exit reason: test failure\n\n==== Test Failure ====\n\nBOLERO_RANDOM_SEED=123\n\nInput: \n[]\n";
        let failed = read(Verdict::Failed, failed);
        assert_eq!((failed.runs, failed.seed.as_deref()), (9, Some("123")));
        assert!(failed.said.contains("Input") && !failed.said.contains("iterations"));
    }
}
