//! `fermata test`.

mod dependencies;
mod language;
mod node;
mod package;
mod python;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use self::language::Language;

/// The most files that are looked at for a test.
const MOST_LOOKED_AT: usize = 10_000;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fermata test                the tests of the function in this directory
  fermata test hello/ -- -v   those in hello/, with a flag for the tool that runs them")]
pub(crate) struct Options {
    /// The directory of the function.
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,

    /// What the function is written in. Default: what its manifest says, else its files.
    #[arg(long, value_enum)]
    runtime: Option<Language>,

    /// Arguments for the tool: pytest or unittest, node --test, go test, cargo test.
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

/// Runs the tests with the tool of their language, and gives its exit code.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let dir = fs::canonicalize(&options.dir)
        .with_context(|| format!("cannot read the directory {}", options.dir.display()))?;
    let language = match options.runtime {
        Some(language) => language,
        None => language::of(&dir)?,
    };
    // Ctrl-C ends the tool; this program removes what it has written.
    let _caught = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    // Kept until the tool has ended.
    let place = tempfile::tempdir().context("cannot make a temporary directory")?;
    let mut tool = match language {
        Language::Python => python::tool(&dir, place.path(), &options.arguments)?,
        Language::Node => node::tool(&dir, place.path(), &options.arguments)?,
        Language::Go => {
            let mut tool = Command::new("go");
            tool.args(["test", "./..."]);
            tool
        }
        Language::Rust => {
            let mut tool = Command::new("cargo");
            tool.arg("test");
            tool
        }
    };
    if matches!(language, Language::Go | Language::Rust) {
        tool.args(&options.arguments);
    }
    let status = tool
        .current_dir(&dir)
        .status()
        .map_err(|error| unavailable(&tool, error))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

/// Why a program could not be started.
fn unavailable(tool: &Command, error: io::Error) -> anyhow::Error {
    let program = tool.get_program().to_string_lossy();
    if error.kind() == io::ErrorKind::NotFound {
        anyhow!("{program} is not on PATH; the tests of this function need it")
    } else {
        anyhow::Error::new(error).context(format!("cannot run {program}"))
    }
}

/// The files of such names in the folder, and below it where nothing is installed or hidden, in order. A name is
/// given with that of its folder.
fn files(dir: &Path, is_one: impl Fn(&str, &str) -> bool) -> anyhow::Result<Vec<PathBuf>> {
    let mut folders = vec![dir.to_owned()];
    let mut files = Vec::new();
    let mut looked_at = 0;
    while let Some(folder) = folders.pop() {
        let of_folder = folder.file_name().unwrap_or_default().to_string_lossy();
        let read = || format!("cannot read the directory {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(read)? {
            let entry = entry.with_context(read)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            looked_at += 1;
            if looked_at > MOST_LOOKED_AT {
                bail!(
                    "there are more than {MOST_LOOKED_AT} files in {}; is it the function's directory?",
                    dir.display()
                );
            }
            if entry.file_type().with_context(read)?.is_dir() {
                if !name.starts_with('.') && name != "node_modules" {
                    folders.push(entry.path());
                }
            } else if is_one(&of_folder, &name) {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}
