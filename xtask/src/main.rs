//! Developer tasks. `cargo xtask help` lists them.

mod bench;
mod debian;
mod generate;
mod kubectl;
mod node;
mod reference;
mod shell;
mod test;

use clap::{Parser, Subcommand};

/// Developer tasks of Fermata.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Write what is generated from the types: the chart's definitions and the manifest reference.
    Gen(generate::Options),
    /// Check and test everything, setting up what the tests need.
    Test(test::Options),
    /// Measure, and print a table.
    Bench(bench::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Gen(options) => generate::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Bench(options) => bench::run(&options),
    }
}
