//! `cargo xtask bench`.

use std::process::Command;

use clap::Args;

use crate::{debian, image::PROFILE, platform::Platform, shell};

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
    let mut bench = Command::new(shell::root().join("target/release/fermata-bench"));
    bench.current_dir(shell::root());
    if options.cluster {
        // Nothing of what is measured runs here but the caller.
        shell::build("release", &["fermata-tests"])?;
        return Platform::prepare()?.during(|platform| {
            platform.install()?;
            platform.describe_to(&mut bench)?;
            shell::run("bench", bench.arg("node").args(&options.arguments))
        });
    }
    debian::ensure(&PEERS)?;
    shell::build(
        "release",
        &["fermata", "fermata-test-function", "fermata-tests"],
    )?;
    shell::build(
        PROFILE,
        &["fermata-gateway", "fermata-operator", "fermata-events"],
    )?;
    let programs = shell::root().join("target").join(PROFILE);
    bench.env("FERMATA_BENCH_PROGRAMS", programs);
    shell::run("bench", bench.args(&options.arguments))
}
