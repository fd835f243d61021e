//! `fermata version`.

use clap::Args;
use serde_json::json;

use crate::output::{self, Format};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Print it for programs.
    #[arg(short, long, value_enum)]
    output: Option<Structured>,
}

/// How a version is printed for programs.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Structured {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let format = match options.output {
        None => {
            output::line(&format!("fermata {version}"));
            return Ok(());
        }
        Some(Structured::Json) => Format::Json,
        Some(Structured::Yaml) => Format::Yaml,
    };
    let api = format!("{}/{}", fermata_crds::GROUP, fermata_crds::VERSION);
    output::structured(format, &json!({"version": version, "api": api}))
}
