//! `cargo xtask test`.

use std::process::Command;

use anyhow::bail;
use clap::Args;

use crate::{generate, kubectl, node, shell};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Only tests whose name contains this.
    filter: Option<String>,

    /// Leave out the checks of format, lints and generated files.
    #[arg(long)]
    no_checks: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if shell::output(Command::new("python3").arg("--version")).is_none() {
        bail!("the tests need python3 on PATH (Debian: apt-get install python3)");
    }
    let kubectl = kubectl::find()?;
    let with_node = node::ensure();
    if !options.no_checks {
        generate::run(&generate::Options::check())?;
        shell::run("format", shell::cargo().args(["fmt", "--all", "--check"]))?;
        shell::run(
            "lints",
            shell::cargo().args([
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ]),
        )?;
    }
    // The suites start these programs; a test alone would not build those of other packages.
    shell::run(
        "build",
        shell::cargo().args(["test", "--workspace", "--no-run"]),
    )?;
    let mut test = shell::cargo();
    test.args(["test", "--workspace", "--no-fail-fast"])
        .env("KUBECTL", &kubectl);
    if let Some(filter) = &options.filter {
        test.arg(filter);
    }
    if !with_node {
        test.args(["--", "--skip", "node::"]);
    }
    shell::run("tests", &mut test)
}
