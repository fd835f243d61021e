//! `cargo xtask bench`.

use std::process::Command;

use clap::Args;

use crate::{debian, platform::Platform, shell};

/// What the gateway is compared with.
const PEERS: [&str; 2] = ["nginx-light", "haproxy"];

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Measure cold starts on a real Kubernetes of this machine, which is set up for it.
    #[arg(long)]
    cluster: bool,

    /// Passed on to the bench program; --help lists what it takes.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    // On the real cluster nothing of what is measured runs here but the caller.
    let packages: &[&str] = if options.cluster {
        &["fermata-tests"]
    } else {
        &[
            "fermata",
            "fermata-gateway",
            "fermata-operator",
            "fermata-test-function",
            "fermata-tests",
        ]
    };
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    shell::run(
        "build",
        shell::cargo()
            .args(["build", "--release", "--bins"])
            .args(packages),
    )?;
    let mut bench = Command::new(shell::root().join("target/release/fermata-bench"));
    bench.current_dir(shell::root());
    if !options.cluster {
        debian::ensure(&PEERS)?;
        return shell::run("bench", bench.args(&options.arguments));
    }
    Platform::prepare()?.during(|platform| {
        platform.install()?;
        platform.describe_to(&mut bench)?;
        shell::run("bench", bench.arg("node").args(&options.arguments))
    })
}
