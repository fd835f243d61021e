//! `cargo xtask test`.

mod builds;
mod embedded;
mod real;
mod release;

use std::process::Command;

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::{cluster, deny, generate, layers, lfs, node, ruby, shell, sshd};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Only tests whose name contains this.
    filter: Option<String>,

    /// Leave out the checks of format, lints and generated files.
    #[arg(long)]
    no_checks: bool,

    /// One lane alone.
    #[arg(long)]
    only: Option<Lane>,

    /// Fail where a real Kubernetes cannot run, instead of testing on the embedded cluster alone.
    #[arg(long)]
    require_cluster: bool,
}

/// Where tests run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Lane {
    /// Everything that needs no cluster, and the suites on the embedded one.
    Embedded,
    /// The suites on a real Kubernetes of this machine.
    Real,
}

/// What the lanes have in common.
struct Setting<'a> {
    filter: Option<&'a str>,
    /// Whether Node.js is there.
    with_node: bool,
    /// Whether a server of SSH is there.
    with_sshd: bool,
}

#[allow(clippy::print_stderr, reason = "it is for people")]
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if shell::output(Command::new("python3").arg("--version")).is_none() {
        bail!("the tests need python3 on PATH (Debian: apt-get install python3)");
    }
    let setting = Setting {
        filter: options.filter.as_deref(),
        with_node: node::ensure(),
        with_sshd: sshd::ensure(),
    };
    lfs::ensure();
    ruby::ensure();
    if !options.no_checks {
        check()?;
    }
    // The suites start these programs; a test alone would not build those of other packages.
    shell::run(
        "build",
        shell::cargo().args(["test", "--workspace", "--no-run"]),
    )?;
    if options.only != Some(Lane::Real) {
        embedded::run(&setting)?;
    }
    if options.only == Some(Lane::Embedded) {
        return Ok(());
    }
    match cluster::missing() {
        None => real::run(&setting),
        Some(missing) if options.require_cluster || options.only == Some(Lane::Real) => {
            bail!("a real Kubernetes cannot run here: {missing}")
        }
        Some(missing) => {
            eprintln!("\nTested on the embedded cluster alone: {missing}.");
            Ok(())
        }
    }
}

fn check() -> anyhow::Result<()> {
    generate::run(&generate::Options::check())?;
    shell::run("format", shell::cargo().args(["fmt", "--all", "--check"]))?;
    layers::check()?;
    deny::check()?;
    lint("lints", &["--all-targets"])?;
    // As images hold it. With all packages, so that those it depends on have the features of the other lints.
    lint(
        "lints of fermata without the embedded platform",
        &["--no-default-features"],
    )?;
    // Suites that run by themselves only are no part of all targets, and are not added to them either.
    let suites = real::SUITES.iter().flat_map(|suite| ["--test", suite]);
    lint("lints of the cluster's suites", &suites.collect::<Vec<_>>())
}

fn lint(title: &str, targets: &[&str]) -> anyhow::Result<()> {
    let mut clippy = shell::cargo();
    clippy
        .args(["clippy", "--workspace"])
        .args(targets)
        .args(["--", "--deny", "warnings"]);
    shell::run(title, &mut clippy)
}

// === impl Setting ===

impl Setting<'_> {
    /// Adds what chooses tests: the filter and the number of threads.
    fn choose(&self, test: &mut Command, threads: Option<usize>) {
        test.args(self.filter).arg("--");
        if !self.with_node {
            test.args(["--skip", "node::"]);
        }
        if !self.with_sshd {
            test.args(["--skip", "ssh::"]);
        }
        if let Some(threads) = threads {
            test.arg(format!("--test-threads={threads}"));
        }
    }
}
