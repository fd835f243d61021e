//! Programs that serve HTTP by themselves, such as those that a build has made.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use crate::log;

/// Becomes the program; returns if that is not possible.
pub(crate) fn main(program: &[OsString]) -> ExitCode {
    let Some((name, arguments)) = program.split_first() else {
        return ExitCode::FAILURE;
    };
    let place = located(name, env::var_os("FERMATA_ROOT").as_deref());
    let error = Command::new(&place).args(arguments).exec();
    log::line(format_args!("cannot run {}: {error}", place.display()));
    ExitCode::FAILURE
}

/// Where a path of the container stands: below the root, if there is one and it has the path.
pub(crate) fn located(path: &OsStr, root: Option<&OsStr>) -> PathBuf {
    let path = Path::new(path);
    let below = root
        .filter(|root| !root.is_empty())
        .zip(path.strip_prefix("/").ok())
        .map(|(root, rest)| Path::new(root).join(rest));
    below
        .filter(|below| below.exists())
        .unwrap_or_else(|| path.to_owned())
}
