//! A kubectl for the tests: the one on `PATH` if it is new enough, else one built from its module.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, bail};

use crate::shell;

/// The oldest minor version of kubectl 1 that the tests take.
const OLDEST: u32 = 30;

/// The kubectl to use.
pub(crate) fn find() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("KUBECTL").map(PathBuf::from);
    let on_path = PathBuf::from("kubectl");
    for candidate in named.into_iter().chain([on_path]) {
        if minor(&candidate).is_some_and(|minor| minor >= OLDEST) {
            return Ok(candidate);
        }
    }
    build()
}

fn minor(program: &PathBuf) -> Option<u32> {
    let text = shell::output(Command::new(program).args(["version", "--client", "--output=json"]))?;
    let version: serde_json::Value = serde_json::from_str(&text).ok()?;
    let minor = version["clientVersion"]["minor"].as_str()?;
    minor.trim_end_matches('+').parse().ok()
}

/// Builds kubectl with Go, once; the result stays in `target/tools`.
fn build() -> anyhow::Result<PathBuf> {
    let program = shell::root().join("target/tools/kubectl");
    if minor(&program).is_some_and(|minor| minor >= OLDEST) {
        return Ok(program);
    }
    if shell::output(Command::new("go").arg("version")).is_none() {
        bail!("the tests need kubectl 1.{OLDEST} or newer on PATH, or Go to build one");
    }
    let module = shell::root().join("tests/cluster");
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-o"])
        .arg(&program)
        .arg("k8s.io/kubernetes/cmd/kubectl")
        .current_dir(&module);
    shell::run("build kubectl", &mut go).context("see tests/cluster/go.mod for the version")?;
    Ok(program)
}
