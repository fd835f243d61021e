//! Developer tasks. `cargo xtask help` lists them.

mod bench;
mod cluster;
mod debian;
mod deny;
mod fuzz;
mod generate;
mod image;
mod kubernetes;
mod layers;
mod lfs;
mod node;
mod platform;
mod reference;
mod release;
mod ruby;
mod shell;
mod soak;
mod sshd;
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
    /// Write what is generated from the types: the chart's definitions, the manifest reference and its JSON schema.
    Gen(generate::Options),
    /// Check and test everything, setting up what the tests need.
    Test(test::Options),
    /// Run the property tests, each for long.
    Fuzz(fuzz::Options),
    /// Run a real Kubernetes of one node on this machine, for tests.
    Cluster(cluster::Options),
    /// Build the images of operator, gateway and runtimes as OCI archives.
    Image(image::Options),
    /// Make a release: programs, images, chart, definitions, packages, checksums, bills of materials.
    Dist(release::Dist),
    /// Push the images to a registry, and write the chart's values that name them by digest.
    Push(release::Push),
    /// Measure, and print a table.
    Bench(bench::Options),
    /// Everything at once for an hour, with every request accounted for.
    Soak(soak::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Gen(options) => generate::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Cluster(options) => cluster::run(&options),
        Task::Image(options) => image::run(&options),
        Task::Dist(options) => release::dist(&options),
        Task::Push(options) => release::push(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Soak(options) => soak::run(&options),
    }
}
