//! `cargo xtask bench`.

use clap::Args;

use crate::shell;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Passed on to the bench program; --help lists what it takes.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    shell::run(
        "build",
        shell::cargo().args([
            "build",
            "--release",
            "--package",
            "fermata",
            "--package",
            "fermata-gateway",
            "--package",
            "fermata-tests",
            "--package",
            "fermata-test-function",
            "--bins",
        ]),
    )?;
    let program = shell::root().join("target/release/fermata-bench");
    shell::run(
        "bench",
        std::process::Command::new(program)
            .args(&options.arguments)
            .current_dir(shell::root()),
    )
}
