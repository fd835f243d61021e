//! A server of NATS for the tests of the store in it: built from its Go module, else none.

use std::{path::Path, process::Command};

use anyhow::{Context as _, bail};

use crate::shell;

/// The module and its version.
const MODULE: &str = "github.com/nats-io/nats-server/v2@v2.15.2";

/// Where the tests look for it, below the root of the repository.
const FOLDER: &str = "target/tools/nats-server/bin";

/// Whether one is there, building it where Go is at hand.
#[allow(clippy::print_stderr, reason = "progress is for people")]
pub(crate) fn ensure() -> bool {
    let folder = shell::root().join(FOLDER);
    let is_there = |program: &Path| shell::output(Command::new(program).arg("--version"));
    let wanted = MODULE.rsplit_once('@').map_or("", |(_, version)| version);
    let is_there = || is_there(&folder.join("nats-server")).is_some_and(|is| is.contains(wanted));
    if is_there() {
        return true;
    }
    if let Err(error) = build(&folder) {
        eprintln!("nats-server: {error:#}");
    }
    let there = is_there();
    if !there {
        eprintln!("There is no nats-server: the store in NATS is not tested.");
    }
    there
}

fn build(folder: &Path) -> anyhow::Result<()> {
    if shell::output(Command::new("go").arg("version")).is_none() {
        bail!("it is built with Go, which is not on PATH");
    }
    let mut go = Command::new("go");
    go.args(["install", "-trimpath", MODULE])
        .env("CGO_ENABLED", "0")
        .env("GOBIN", folder);
    shell::run("build nats-server (once, a minute)", &mut go)
        .with_context(|| format!("{MODULE} does not build"))
}
