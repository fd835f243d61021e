//! The process that runs for one request.

use std::{
    ffi::OsString,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{ChildStdin, ChildStdout, Command},
    sync::oneshot,
};

use super::CommandError;
use crate::orphans::Awaited;

/// A process group. Dropping it kills what is left of it.
#[derive(Debug)]
pub(crate) struct Group(Option<Pid>);

/// A process that was started.
pub(crate) struct Running {
    group: Group,
    stdin: ChildStdin,
    stdout: ChildStdout,
    status: oneshot::Receiver<ExitStatus>,
}

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

/// Starts the program in a process group of its own. What it writes to standard error goes to the
/// pod's log.
pub(crate) fn start(
    program: &Path,
    arguments: &[String],
    variables: Vec<(OsString, OsString)>,
) -> Result<Running, std::io::Error> {
    let mut child = Command::new(program)
        .args(arguments)
        .envs(variables)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let awaited = Awaited::new(child.id());
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let group = pid.and_then(Pid::from_raw);
    let missing = || std::io::Error::other("the process has no pipes");
    let stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let (sender, status) = oneshot::channel();
    // Ends with the process, which the group's end kills.
    tokio::spawn(async move {
        let status = child.wait().await;
        drop(awaited);
        if let Ok(status) = status {
            // What the program leaves behind would hold its output open.
            kill(group);
            let _ = sender.send(status);
        }
    });
    Ok(Running {
        group: Group(group),
        stdin,
        stdout,
        status,
    })
}

/// How a process ended, in words.
pub(crate) fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn kill(group: Option<Pid>) {
    if let Some(group) = group {
        // That nobody is left in it is as good.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

// === impl Running ===

impl Running {
    pub(crate) fn split(
        self,
    ) -> (
        Group,
        ChildStdin,
        ChildStdout,
        oneshot::Receiver<ExitStatus>,
    ) {
        (self.group, self.stdin, self.stdout, self.status)
    }
}

// === impl Group ===

impl Group {
    /// Kills all processes of the group now.
    pub(crate) fn kill(&self) {
        kill(self.0);
    }

    /// The process has ended, and its group was killed with it: its number may be another's soon.
    pub(crate) fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
