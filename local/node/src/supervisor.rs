//! The process between the node and a container's process.
//!
//! A container must not outlive its node, must be killed as a whole even where it forked away, and
//! must not see the terminal's Ctrl-C. A process that adopts orphans (`PR_SET_CHILD_SUBREAPER`) and
//! whose standard input is a pipe from the node can promise all three without privileges: the
//! kernel closes the pipe however the node ends.

use std::{
    ffi::OsString,
    fs,
    io::Read as _,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Command, ExitCode, ExitStatus, Stdio},
    thread,
};

use rustix::process::{self, Pid, Signal, WaitOptions};

/// On the pipe: ask the container to end (SIGTERM to its process group).
pub(crate) const TERMINATE: u8 = b'T';

/// On the pipe: end everything in the container now (SIGKILL).
pub(crate) const KILL: u8 = b'K';

/// The exit code when the command cannot be started at all.
pub(crate) const CANNOT_START: u8 = 128;

/// Before the command: how many files its processes may have open at once.
const OPEN_FILES: &str = "--open-files=";

/// Before the command: it takes the place of this process, without a supervisor, and ends when the node does.
pub(crate) const EXEC: &str = "--exec";

/// The same, with standard input as the terminal of a session of its own.
pub(crate) const EXEC_TTY: &str = "--exec-tty";

/// The argument for [`supervise`] that gives the command a limit of open files of its own, such as the
/// one that a platform was started with before it raised its own.
#[must_use]
pub fn open_files_argument(limit: u64) -> OsString {
    format!("{OPEN_FILES}{limit}").into()
}

/// Runs a command as a container and stays until nothing of it is left. Its exit code becomes this
/// process's own; death by a signal is 128 plus the signal's number, as in any shell.
///
/// To be called first thing in a process that does nothing else: it becomes the parent of every
/// orphan the command leaves behind. `arguments` are the command and its arguments, before them
/// perhaps that of [`open_files_argument`].
///
/// Standard input is the node's pipe: `T` asks the container to end, `K` or the end of the pipe
/// ends it at once.
pub fn supervise(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter().peekable();
    let limit = |argument: &OsString| argument.to_str()?.strip_prefix(OPEN_FILES)?.parse().ok();
    if let Some(limit) = arguments.peek().and_then(limit) {
        // Programs that go through all files they may have open would do so for a million.
        fermata_listen::files::lower(limit);
        arguments.next();
    }
    let Some(program) = arguments.next() else {
        return complain("a container needs a command");
    };
    if program == EXEC || program == EXEC_TTY {
        return execute(program == EXEC_TTY, arguments);
    }
    if let Err(error) = process::set_child_subreaper(Some(process::getpid())) {
        return complain(&format!("cannot adopt orphans: {error}"));
    }
    let spawned = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn();
    let child = match spawned {
        Ok(child) => child,
        Err(error) => return complain(&format!("exec {}: {error}", program.display())),
    };
    // A process id always fits: the kernel's are positive and below 2^22.
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        return complain("the kernel gave an impossible process id");
    };
    thread::spawn(move || obey(pid));
    let status = wait_for(pid);
    kill_the_rest();
    ExitCode::from(exit_code(status))
}

/// Becomes a command that runs beside a container's own.
fn execute(tty: bool, mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(program) = arguments.next() else {
        return complain("a container needs a command");
    };
    let begun = process::set_parent_process_death_signal(Some(Signal::KILL)).and_then(|()| {
        if tty {
            process::setsid()?;
            process::ioctl_tiocsctty(std::io::stdin())?;
        }
        Ok(())
    });
    if let Err(error) = begun {
        return complain(&format!("cannot set up {}: {error}", program.display()));
    }
    let error = Command::new(&program).args(arguments).exec();
    complain(&format!("exec {}: {error}", program.display()))
}

/// Does what comes through the pipe, until it ends.
fn obey(pid: Pid) {
    let mut order = [0];
    let mut pipe = std::io::stdin();
    while let Ok(1) = pipe.read(&mut order) {
        let signal = if order[0] == TERMINATE {
            Signal::TERM
        } else {
            Signal::KILL
        };
        // The group may be gone already; then there is nobody to tell.
        let _ = process::kill_process_group(pid, signal);
        if order[0] == KILL {
            kill_children();
        }
    }
    let _ = process::kill_process_group(pid, Signal::KILL);
    kill_children();
}

/// Waits for the command itself, reaping adopted orphans on the way.
fn wait_for(pid: Pid) -> Option<ExitStatus> {
    loop {
        match process::wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended == pid => {
                return Some(ExitStatus::from_raw(status.as_raw()));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// Kills what the command left behind. An orphan's own children become this process's in turn, so
/// this goes on until there are none.
fn kill_the_rest() {
    loop {
        kill_children();
        match process::wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

fn kill_children() {
    for pid in children() {
        let _ = process::kill_process(pid, Signal::KILL);
    }
}

/// The processes whose parent is this one.
fn children() -> Vec<Pid> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| parent(*pid) == Some(own))
        .filter_map(Pid::from_raw)
        .collect()
}

/// The parent's id, the second field after the name; the name is in parentheses and may hold any
/// character (proc(5)).
fn parent(pid: i32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

fn exit_code(status: Option<ExitStatus>) -> u8 {
    let code = status.and_then(|status| {
        status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal))
    });
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

#[allow(clippy::print_stderr, reason = "standard error is the container's log")]
fn complain(sentence: &str) -> ExitCode {
    eprintln!("{sentence}");
    ExitCode::from(CANNOT_START)
}
