//! Processes that the invoker starts, each with all it starts itself.

use std::{io, os::unix::process::ExitStatusExt as _, process::ExitStatus};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{ChildStderr, ChildStdin, ChildStdout, Command},
    sync::oneshot,
};

use crate::orphans::Awaited;

/// A process group. Dropping it kills what is left of it.
#[derive(Debug)]
pub(crate) struct Group(Option<Pid>);

/// A process that was started.
pub(crate) struct Running {
    pub(crate) group: Group,
    /// Its standard input, if it was piped.
    pub(crate) stdin: Option<ChildStdin>,
    /// Its standard output, if it was piped.
    pub(crate) stdout: Option<ChildStdout>,
    /// Its standard error, if it was piped.
    pub(crate) stderr: Option<ChildStderr>,
    /// How it ended. What is left of its group has been killed by then.
    pub(crate) status: oneshot::Receiver<ExitStatus>,
}

/// Starts a program in a process group of its own, and waits for the process itself: what it has
/// started may hold its descriptors open for longer than it lives. When it has ended, the rest of
/// the group is killed, and then `ended` is called.
pub(crate) fn spawn(
    command: &mut Command,
    ended: impl FnOnce() + Send + 'static,
) -> io::Result<Running> {
    let mut child = command.process_group(0).spawn()?;
    let awaited = Awaited::new(child.id());
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let group = pid.and_then(Pid::from_raw);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (sender, status) = oneshot::channel();
    // Ends with the process, which the group's end kills.
    tokio::spawn(async move {
        let status = child.wait().await;
        drop(awaited);
        if let Ok(status) = status {
            kill(group);
            let _ = sender.send(status);
        }
        ended();
    });
    Ok(Running {
        group: Group(group),
        stdin,
        stdout,
        stderr,
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

// === impl Group ===

impl Group {
    /// Kills all processes of the group now.
    pub(crate) fn kill(&self) {
        kill(self.0);
    }

    /// Its number; none once it has ended.
    pub(crate) fn id(&self) -> Option<i32> {
        self.0.map(|group| group.as_raw_nonzero().get())
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
