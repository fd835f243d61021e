//! Which targets there are, and where.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::shell;

/// What the name of a target begins with, after the path of its module.
const PREFIX: &str = "fuzz_";

/// A test that is a target.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    package: String,
    /// The arguments of cargo that choose its program.
    choice: Vec<String>,
    test: String,
    program: PathBuf,
    /// Where cargo runs the tests of its package.
    folder: PathBuf,
}

/// What cargo says of something that it has built.
#[derive(Debug, Deserialize)]
struct Artifact {
    executable: Option<PathBuf>,
    manifest_path: PathBuf,
    profile: Profile,
    target: Built,
}

#[derive(Debug, Deserialize)]
struct Profile {
    test: bool,
}

#[derive(Debug, Deserialize)]
struct Built {
    name: String,
    kind: Vec<String>,
}

/// All targets, after everything that has tests was built.
pub(super) fn all() -> anyhow::Result<Vec<Target>> {
    let mut build = shell::cargo();
    build
        .args(["test", "--workspace", "--no-run"])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit());
    let output = build.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the tests cannot be built");
    }
    let mut targets = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        // Other messages have other fields.
        let Ok(artifact) = serde_json::from_str::<Artifact>(line) else {
            continue;
        };
        if artifact.profile.test {
            targets.append(&mut of(&artifact)?);
        }
    }
    targets.sort_by_key(Target::to_string);
    Ok(targets)
}

fn of(artifact: &Artifact) -> anyhow::Result<Vec<Target>> {
    let Some(program) = &artifact.executable else {
        return Ok(Vec::new());
    };
    let folder = artifact.manifest_path.parent().unwrap_or(Path::new("."));
    let package = folder.file_name().unwrap_or_default().to_string_lossy();
    let choice = match artifact.target.kind.first().map(String::as_str) {
        Some("test") => vec!["--test".to_owned(), artifact.target.name.clone()],
        Some("bin") => vec!["--bin".to_owned(), artifact.target.name.clone()],
        _ => vec!["--lib".to_owned()],
    };
    let mut list = Command::new(program);
    list.args(["--list", "--format=terse"]).current_dir(folder);
    let listed = shell::output(&mut list)
        .with_context(|| format!("{} does not list its tests", program.display()))?;
    let targets = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .filter(|test| is_target(test))
        .map(|test| Target {
            package: package.clone().into_owned(),
            choice: choice.clone(),
            test: test.to_owned(),
            program: program.clone(),
            folder: folder.to_owned(),
        });
    Ok(targets.collect())
}

fn is_target(test: &str) -> bool {
    let name = test.rsplit("::").next().unwrap_or(test);
    name.starts_with(PREFIX)
}

// === impl Target ===

impl Target {
    /// The command of its test alone.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args([&self.test, "--exact", "--nocapture"])
            .current_dir(&self.folder);
        command
    }

    /// The name of the file for what it says.
    pub(super) fn log(&self) -> String {
        let choice = self.choice.last().map_or("", String::as_str);
        let test = self.test.replace("::", "-");
        format!("{}-{}-{test}.log", self.package, choice.trim_matches('-'))
    }

    /// How somebody repeats a run, with its seed if that is known.
    pub(super) fn repeat(&self, seed: Option<&str>) -> String {
        let seed = seed.map_or_else(String::new, |seed| {
            format!("BOLERO_RANDOM_SEED={seed} BOLERO_RANDOM_ITERATIONS=0 ")
        });
        format!(
            "{seed}cargo test --workspace {} {} -- --exact",
            self.choice.join(" "),
            self.test
        )
    }
}

/// The folder of its package and the path of its test.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.package, self.test)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_told_by_the_last_part_of_its_name() {
        assert!(is_target("fuzz_a"));
        assert!(is_target("a::b::fuzz_c"));
        assert!(!is_target("fuzz_a::b"));
        assert!(!is_target("a::not_fuzz_b"));
    }
}
