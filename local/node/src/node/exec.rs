//! Commands that run beside a container's own: with its variables, in its directory, and no longer than it.

mod terminal;

use std::{
    collections::HashMap,
    ffi::OsString,
    io,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

use self::terminal::Terminal;
use super::{
    forward::Sandboxes,
    log::Log,
    process::{self, NotRunnable, Plan},
};
use crate::supervisor::{EXEC, EXEC_TTY};

/// The pods that run now and their containers, by the uid of the pod and the name. Clones are the same.
#[derive(Clone, Default)]
pub struct Containers {
    running: Arc<Mutex<HashMap<Key, Running>>>,
    pub(super) sandboxes: Sandboxes,
}

type Key = (String, String);

struct Running {
    plan: Plan,
    supervisor: Vec<OsString>,
    log: Log,
    end: CancellationToken,
}

/// A container is among those that run as long as this is there.
pub(super) struct Entered {
    containers: Containers,
    key: Key,
    end: CancellationToken,
}

/// A command that runs, or a container that is listened to. Dropping it kills the command with its process
/// group; a container goes on.
pub struct Execution {
    /// Its standard input, if it was asked for. A terminal's keyboard cannot be at its end.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Its standard output, or all that comes from its terminal, whose end is an error (EIO).
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Its standard error; none of a command with a terminal.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Tells its terminal columns and rows; without one it does nothing.
    pub resize: Box<dyn Fn(u16, u16) + Send + Sync>,
    /// Its exit code, 128 plus the number of a deadly signal; 0 when a container has ended.
    pub ended: BoxFuture<'static, i32>,
}

/// Why a command does not run.
#[derive(Debug, thiserror::Error)]
pub enum NotExecuted {
    /// The container has ended, or has not begun.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// Somebody wants to write to a container.
    #[error(
        "container {0} has no standard input here: it is empty; attach without -i, or run a command with kubectl exec -i"
    )]
    NoInput(String),
    /// There is no command.
    #[error("no command is given")]
    Empty,
    /// The command is no program of this machine.
    #[error("{0}")]
    NotRunnable(String),
    /// The system refuses another process or terminal.
    #[error("cannot start {program}: {source}")]
    System {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Kills what is left of a command.
struct Group(Option<Pid>);

// === impl Containers ===

impl Containers {
    /// Adds a container that has just been started.
    pub(super) fn enter(
        &self,
        pod: &str,
        container: &str,
        plan: &Plan,
        supervisor: &[OsString],
        log: &Log,
    ) -> Entered {
        let key = (pod.to_owned(), container.to_owned());
        let end = CancellationToken::new();
        let running = Running {
            plan: plan.clone(),
            supervisor: supervisor.to_vec(),
            log: log.clone(),
            end: end.clone(),
        };
        self.lock().insert(key.clone(), running);
        Entered {
            containers: self.clone(),
            key,
            end,
        }
    }

    /// Starts a command beside that of a container. It ends with the container at the latest.
    ///
    /// # Errors
    ///
    /// When the container does not run, or the command cannot be started.
    pub fn exec(
        &self,
        pod: &str,
        container: &str,
        command: &[String],
        stdin: bool,
        tty: bool,
    ) -> Result<Execution, NotExecuted> {
        let (program, arguments) = command.split_first().ok_or(NotExecuted::Empty)?;
        let key = (pod.to_owned(), container.to_owned());
        let (run, end) = {
            let containers = self.lock();
            let running = containers
                .get(&key)
                .ok_or_else(|| NotExecuted::NotRunning(container.to_owned()))?;
            (
                running.command(program, arguments, tty)?,
                running.end.clone(),
            )
        };
        let refused = |source| NotExecuted::System {
            program: program.clone(),
            source,
        };
        if tty {
            with_terminal(run, stdin, end).map_err(refused)
        } else {
            with_pipes(run, stdin, end).map_err(refused)
        }
    }

    /// The log of a container that runs, and what tells its end.
    pub(super) fn log(
        &self,
        pod: &str,
        container: &str,
    ) -> Result<(Log, CancellationToken), NotExecuted> {
        let key = (pod.to_owned(), container.to_owned());
        let containers = self.lock();
        let running = containers
            .get(&key)
            .ok_or_else(|| NotExecuted::NotRunning(container.to_owned()))?;
        Ok((running.log.clone(), running.end.clone()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.containers.lock().remove(&self.key);
        self.end.cancel();
    }
}

// === impl Running ===

impl Running {
    fn command(
        &self,
        program: &str,
        arguments: &[String],
        tty: bool,
    ) -> Result<Command, NotExecuted> {
        let plan = &self.plan;
        let path = plan.env.iter().rev().find(|(name, _)| name == "PATH");
        let path = path
            .map(|(_, path)| OsString::from(path))
            .unwrap_or_default();
        let file = process::find(program, &plan.mounts, &plan.dir, &path)
            .map_err(|error: NotRunnable| NotExecuted::NotRunnable(error.to_string()))?;
        let mut supervisor = self.supervisor.iter();
        let mut run = Command::new(supervisor.next().map_or_else(OsString::new, Clone::clone));
        run.args(supervisor)
            .arg(if tty { EXEC_TTY } else { EXEC })
            .arg(file)
            .args(arguments)
            .env_clear();
        if tty {
            run.env("TERM", "xterm");
        }
        run.envs(plan.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&plan.dir)
            .kill_on_drop(true);
        Ok(run)
    }
}

fn with_pipes(mut run: Command, stdin: bool, end: CancellationToken) -> io::Result<Execution> {
    let mut child = run
        .stdin(if stdin { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let missing = || io::Error::other("the command has no pipe");
    Ok(Execution {
        stdin: child.stdin.take().map(|pipe| Box::new(pipe) as _),
        stdout: Box::new(child.stdout.take().ok_or_else(missing)?),
        stderr: Some(Box::new(child.stderr.take().ok_or_else(missing)?)),
        resize: Box::new(|_, _| {}),
        ended: Box::pin(ended(Group::of(&child), child, end)),
    })
}

fn with_terminal(mut run: Command, stdin: bool, end: CancellationToken) -> io::Result<Execution> {
    let terminal = Terminal::open()?;
    // It becomes the leader of a session, and so of a process group, by itself.
    let child = run
        .stdin(Stdio::from(terminal.user.try_clone()?))
        .stdout(Stdio::from(terminal.user.try_clone()?))
        .stderr(Stdio::from(terminal.user))
        .spawn()?;
    Ok(Execution {
        stdin: stdin.then(|| Box::new(terminal.keyboard) as _),
        stdout: Box::new(terminal.screen),
        stderr: None,
        resize: Box::new(move |columns, rows| terminal.window.resize(columns, rows)),
        ended: Box::pin(ended(Group::of(&child), child, end)),
    })
}

/// Waits for the command, and kills it when the container has ended.
async fn ended(_group: Group, mut child: Child, end: CancellationToken) -> i32 {
    let status = tokio::select! {
        status = child.wait() => status,
        () = end.cancelled() => {
            // It may not have been the leader of its group for long.
            let _ = child.start_kill();
            child.wait().await
        }
    };
    use std::os::unix::process::ExitStatusExt as _;
    let code = status.ok().and_then(|status| {
        let signal = || status.signal().map(|signal| 128 + signal);
        status.code().or_else(signal)
    });
    code.unwrap_or(255)
}

// === impl Group ===

impl Group {
    fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        Self(pid.and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // Mostly there is nobody left to tell.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}
