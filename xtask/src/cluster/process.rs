//! Components as processes that outlive the command that started them.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::layout::Layout;

/// How long a component may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(10);
/// How long it may take to be gone after SIGKILL.
const GONE: Duration = Duration::from_secs(10);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

/// How a component is stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum How {
    /// SIGTERM, and SIGKILL after ten seconds.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// Starts a component; it writes into its log.
pub(super) fn start(layout: &Layout, name: &str, mut command: Command) -> anyhow::Result<()> {
    let path = layout.log(name);
    let log = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot share the log")?)
        .stderr(log)
        // Ctrl-C at this command is not meant for the component.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let pid = child.id();
    let file = layout.path("run").join(name);
    let started = started(pid).unwrap_or_default();
    fs::write(&file, format!("{pid} {started}"))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Whether a component runs.
pub(super) fn runs(layout: &Layout, name: &str) -> bool {
    find(layout, name).is_some()
}

/// Stops a component, if it runs, and waits until it is gone.
pub(super) fn stop(layout: &Layout, name: &str, how: How) -> anyhow::Result<()> {
    let Some(pid) = find(layout, name) else {
        return Ok(());
    };
    let gone = |within: Duration| {
        let start = Instant::now();
        while runs(layout, name) {
            if start.elapsed() > within {
                return false;
            }
            thread::sleep(POLL);
        }
        true
    };
    if how == How::Terminate {
        let _ = kill_process(pid, Signal::TERM);
        if gone(GRACE) {
            return Ok(());
        }
    }
    let _ = kill_process(pid, Signal::KILL);
    if !gone(GONE) {
        bail!("{name} (process {pid:?}) does not end");
    }
    Ok(())
}

/// Waits until a condition is met, for as long as the component runs.
pub(super) fn wait(
    layout: &Layout,
    name: &str,
    within: Duration,
    mut condition: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    let start = Instant::now();
    while !condition() {
        if !runs(layout, name) {
            bail!("{name} has ended:\n{}", end_of_log(layout, name));
        }
        if start.elapsed() > within {
            bail!(
                "{name} does not serve after {} s:\n{}",
                within.as_secs(),
                end_of_log(layout, name)
            );
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Kills all processes of one program, for those that no component waits for.
pub(super) fn kill_all(program: &Path) -> anyhow::Result<()> {
    let processes = fs::read_dir("/proc").context("cannot list processes")?;
    for entry in processes.flatten() {
        let runs_it = fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == program);
        let pid = entry.file_name().to_str().and_then(|id| id.parse().ok());
        if let (true, Some(pid)) = (runs_it, pid.and_then(Pid::from_raw)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    Ok(())
}

fn end_of_log(layout: &Layout, name: &str) -> String {
    let text = fs::read(layout.log(name)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(15).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// The process of a component, if it still is the one that was started.
fn find(layout: &Layout, name: &str) -> Option<Pid> {
    let noted = fs::read_to_string(layout.path("run").join(name)).ok()?;
    let (pid, noted) = noted.split_once(' ')?;
    let pid: u32 = pid.parse().ok()?;
    (started(pid)? == noted).then(|| Pid::from_raw(pid.cast_signed()))?
}

/// When a process began, by the kernel's count: an id may be used again. A dead process that nobody
/// has waited for counts as gone.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, and may hold anything.
    let mut rest = stat.rsplit_once(") ")?.1.split(' ');
    let state = rest.next()?;
    let start = rest.nth(18)?;
    (state != "Z").then(|| start.to_owned())
}
