//! The program that runs for one request.

use std::{
    ffi::OsString,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use super::CommandError;
use crate::process::{self, Running};

/// Finds a program as a shell would: by its path if there is a slash in it, else on the PATH, and
/// then in the source.
pub(crate) fn find(program: &str) -> Result<PathBuf, CommandError> {
    if program.contains('/') {
        let path = PathBuf::from(program);
        return check(&path).map(|()| path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|path| check(path).is_ok());
    if let Some(found) = on_path {
        return Ok(found);
    }
    let in_source = Path::new(".").join(program);
    check(&in_source)
        .map(|()| in_source)
        .map_err(|error| match error {
            CommandError::NotExecutable(_) => CommandError::NotExecutable(program.to_owned()),
            _ => CommandError::NotFound(program.to_owned()),
        })
}

fn check(path: &Path) -> Result<(), CommandError> {
    let name = || path.display().to_string();
    match path.metadata() {
        Ok(file) if file.is_file() && file.permissions().mode() & 0o111 != 0 => Ok(()),
        Ok(_) => Err(CommandError::NotExecutable(name())),
        Err(_) => Err(CommandError::NotFound(name())),
    }
}

/// Starts the program with its standard input and output piped. What it writes to standard error
/// goes to the pod's log.
pub(crate) fn start(
    program: &Path,
    arguments: &[String],
    variables: Vec<(OsString, OsString)>,
) -> Result<Running, std::io::Error> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(variables)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    process::spawn(&mut command, || {})
}
