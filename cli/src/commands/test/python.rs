//! Tests in Python: pytest if it is there, else unittest.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context as _;

use super::{dependencies, package, unavailable};

/// Runs what unittest finds, in folders that are no packages too, and fails where it finds nothing.
const UNITTEST: &str = include_str!("unittest.py");

/// The tool, which finds the function's modules, its dependencies and the package `fermata`.
///
/// # Errors
///
/// When there is no Python, or the dependencies cannot be installed.
pub(super) fn tool(dir: &Path, place: &Path, arguments: &[String]) -> anyhow::Result<Command> {
    let python = env::var_os("FERMATA_PYTHON").filter(|python| !python.is_empty());
    let python = python.unwrap_or_else(|| "python3".into());
    package::python(place)?;
    let version = version(&python)?;
    let installed = dependencies::installed(dir, "python", &version)?;
    let mut path = vec![dir.to_owned()];
    path.extend(installed.map(|installed| installed.target()));
    path.push(place.to_owned());
    if let Some(own) = env::var_os("PYTHONPATH") {
        path.extend(env::split_paths(&own).collect::<Vec<PathBuf>>());
    }
    let path = env::join_paths(path).context("the path of the function has a ':'")?;

    let mut pytest = Command::new(&python);
    pytest
        .args(["-c", "import pytest"])
        .env("PYTHONPATH", &path)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let has_pytest = pytest
        .status()
        .map_err(|error| unavailable(&pytest, error))?
        .success();
    let mut tool = Command::new(&python);
    tool.env("PYTHONPATH", &path);
    // The folder is the function's: what Python compiles of it is not to be in it.
    tool.env("PYTHONDONTWRITEBYTECODE", "1");
    if has_pytest {
        tool.args(["-m", "pytest"]);
        // What it keeps of this run for the next one is not to be there either, unless somebody asks for that.
        if !arguments.iter().any(|argument| remembers(argument)) {
            let mut cache = OsString::from("cache_dir=");
            cache.push(place.join("pytest_cache"));
            tool.arg("-o").arg(cache);
        }
    } else {
        tool.args(["-c", UNITTEST]);
    }
    tool.args(arguments);
    Ok(tool)
}

/// Whether an argument is about what pytest keeps of earlier runs, in `.pytest_cache`.
fn remembers(argument: &str) -> bool {
    let options = [
        "--lf",
        "--last-failed",
        "--ff",
        "--failed-first",
        "--nf",
        "--new-first",
        "--sw",
        "--stepwise",
        "--cache",
    ];
    options.iter().any(|option| argument.starts_with(option))
}

/// Which Python it is: what is installed for one does not always run on another.
fn version(python: &OsString) -> anyhow::Result<Vec<u8>> {
    let mut command = Command::new(python);
    command.arg("-VV");
    let output = command
        .output()
        .map_err(|error| unavailable(&command, error))?;
    Ok([output.stdout, output.stderr].concat())
}
