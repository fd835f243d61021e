//! Running programs from the root of the repository.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, bail};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0")
}

/// Cargo, as it runs this very program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command that must succeed, and says how long it took.
#[allow(clippy::print_stderr, reason = "progress is for people")]
pub(crate) fn run(title: &str, command: &mut Command) -> anyhow::Result<()> {
    eprintln!("\n== {title}");
    let started = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("{title}: cannot run {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{title}: failed ({status})");
    }
    eprintln!("== {title}: {:.0} s", started.elapsed().as_secs_f32());
    Ok(())
}

/// Builds the programs of some packages.
pub(crate) fn build(profile: &str, packages: &[&str]) -> anyhow::Result<()> {
    let mut cargo = cargo();
    cargo
        .args(["build", "--bins", "--profile", profile])
        .args(packages.iter().flat_map(|package| ["--package", package]));
    run(&format!("build {}", packages.join(", ")), &mut cargo)
}

/// What a command prints, if it succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// Runs a command that must succeed, showing what it prints only if it does not.
pub(crate) fn quiet(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        bail!(
            "{} failed ({}): {}{}",
            program.display(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
