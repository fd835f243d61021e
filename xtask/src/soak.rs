//! `cargo xtask soak`.

use std::process::Command;

use clap::Args;

use crate::{platform::Platform, shell};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// How long the load goes on.
    #[arg(long, default_value_t = 60)]
    minutes: u32,

    /// What the order of events follows from.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Run on a `fermata up`, instead of a real Kubernetes of this machine.
    #[arg(long)]
    embedded: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut soak = Command::new(shell::root().join("target/release/fermata-soak"));
    soak.current_dir(shell::root())
        .args(["--minutes", &options.minutes.to_string()])
        .args(["--seed", &options.seed.to_string()]);
    if options.embedded {
        shell::build(
            "release",
            &["fermata", "fermata-test-function", "fermata-tests"],
        )?;
        return shell::run("soak", soak.arg("--embedded"));
    }
    shell::build("release", &["fermata-tests"])?;
    Platform::prepare()?.during(|platform| {
        platform.install()?;
        platform.describe_to(&mut soak)?;
        shell::run("soak", &mut soak)
    })
}
