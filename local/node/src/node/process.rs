//! One run of a container's process, through its supervisor.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, ChildStdin, Command},
    task::JoinHandle,
};

use super::{log::Log, mounts::Mounts};
use crate::supervisor::{KILL, TERMINATE};

/// What to run: everything resolved.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) dir: PathBuf,
    /// The variables that the manifest asks for, which are among `env`.
    pub(super) declared: BTreeMap<String, String>,
    pub(super) mounts: Mounts,
}

/// Why a command cannot run on this machine.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotRunnable {
    #[error(
        "exec: \"{0}\": executable file not found in $PATH: there are no containers on this node, so the command must be a program of this machine"
    )]
    NotFound(String),
    #[error("exec: \"{0}\": permission denied: the file is not executable")]
    NotExecutable(String),
}

/// A running process. Dropping it kills the process with everything it started.
pub(super) struct Process {
    supervisor: Child,
    pipe: ChildStdin,
    readers: Vec<JoinHandle<()>>,
}

// === impl Plan ===

impl Plan {
    /// The command as a child of this very process, without a supervisor: for probes and hooks.
    pub(super) fn command(&self, command: &[String]) -> Command {
        let program = command.first().map_or("", String::as_str);
        let mut run = Command::new(self.mounts.locate(program));
        run.args(command.iter().skip(1))
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0);
        run
    }
}

// === impl Process ===

impl Process {
    /// Starts the process under its supervisor, with its output going to the log.
    pub(super) fn start(
        supervisor: &[std::ffi::OsString],
        plan: &Plan,
        log: &Log,
    ) -> io::Result<Self> {
        let (program, arguments) = supervisor
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no supervisor program"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .arg(&plan.program)
            .args(&plan.arguments)
            .env_clear()
            .envs(plan.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&plan.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let missing = || io::Error::other("the supervisor has no pipe");
        let pipe = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let readers = vec![
            tokio::spawn(log.clone().copy("stdout", stdout)),
            tokio::spawn(log.clone().copy("stderr", stderr)),
        ];
        Ok(Self {
            supervisor: child,
            pipe,
            readers,
        })
    }

    /// Asks the process to end.
    pub(super) async fn terminate(&mut self) {
        // A broken pipe means that it has ended already.
        let _ = self.pipe.write_all(&[TERMINATE]).await;
    }

    /// Ends the process and everything it started.
    pub(super) async fn kill(&mut self) {
        let _ = self.pipe.write_all(&[KILL]).await;
    }

    /// Waits until nothing of the process is left and its output is in the log; gives the exit
    /// code, 128 plus the number of a deadly signal.
    ///
    /// Cancel safe.
    pub(super) async fn ended(&mut self) -> i32 {
        let code = match self.supervisor.wait().await {
            // The supervisor itself has no reason to die of a signal; somebody killed it.
            Ok(status) => status.code().unwrap_or(137),
            Err(_) => 255,
        };
        for reader in &mut self.readers {
            let _ = reader.await;
        }
        self.readers.clear();
        code
    }

    /// The id of the supervisor.
    pub(super) fn id(&self) -> Option<u32> {
        self.supervisor.id()
    }
}

/// The executable that a command names: a path, taken from `dir` if it is relative, which may lie in a volume,
/// or a name to be looked up in `path`.
pub(super) fn find(
    command: &str,
    mounts: &Mounts,
    dir: &Path,
    path: &OsStr,
) -> Result<PathBuf, NotRunnable> {
    let missing = || NotRunnable::NotFound(command.to_owned());
    if command.contains('/') {
        let file = dir.join(mounts.locate(command));
        let metadata = std::fs::metadata(&file).map_err(|_| missing())?;
        return if is_executable(&metadata) {
            Ok(file)
        } else {
            Err(NotRunnable::NotExecutable(command.to_owned()))
        };
    }
    std::env::split_paths(path)
        .map(|folder| folder.join(command))
        .find(|file| std::fs::metadata(file).is_ok_and(|metadata| is_executable(&metadata)))
        .ok_or_else(missing)
}

fn is_executable(metadata: &std::fs::Metadata) -> bool {
    metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
}
