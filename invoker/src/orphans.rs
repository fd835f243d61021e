//! Processes that a function leaves behind.
//!
//! A process whose parent has ended is given to the first process of the container, which the
//! invoker is, and stays in the process table until it is waited for. Without that a function that
//! starts something in the background would fill the table, call by call.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::log;

/// How long killed processes may take to be gone.
const END_TIME: Duration = Duration::from_secs(2);

/// How long to wait before looking again.
const END_PAUSE: Duration = Duration::from_millis(1);

/// Processes that somebody waits for. Nobody else may, lest their end be missed.
static AWAITED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A process that somebody waits for, until this is dropped.
///
/// It has to be made before anything else can run after the process was started, so that there is
/// no moment in which the process looks like an orphan; with one thread that is until the next
/// await.
pub(crate) struct Awaited(Option<i32>);

// === impl Awaited ===

impl Awaited {
    pub(crate) fn new(pid: Option<u32>) -> Self {
        let pid = pid.and_then(|pid| i32::try_from(pid).ok());
        awaited().extend(pid);
        Self(pid)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            awaited().remove(&pid);
        }
    }
}

fn awaited() -> MutexGuard<'static, BTreeSet<i32>> {
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for orphans as they end; never returns.
pub(crate) async fn reap() {
    // Also where the invoker is not the first process, what its function leaves behind is its own
    // to clear up. A kernel that cannot give it the orphans gives them to somebody else.
    let _ = set_child_subreaper(Some(getpid()));
    let mut ended = match signal(SignalKind::child()) {
        Ok(ended) => ended,
        Err(error) => {
            log::line(format_args!("cannot hear of processes that end: {error}"));
            return std::future::pending().await;
        }
    };
    while ended.recv().await.is_some() {
        for pid in children() {
            let is_orphan = !awaited().contains(&pid);
            if let (true, Some(pid)) = (is_orphan, Pid::from_raw(pid)) {
                // One that still runs is left alone.
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
    }
}

/// Kills whatever the function has left running, when the invoker itself is about to end. In a
/// container of its own the kernel would do so; elsewhere nobody would.
pub(crate) fn end() {
    let until = Instant::now() + END_TIME;
    loop {
        let left = children();
        if left.is_empty() || Instant::now() > until {
            return;
        }
        for pid in left.into_iter().filter_map(Pid::from_raw) {
            // Its own children become this process's, and are found in the next round.
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        thread::sleep(END_PAUSE);
    }
}

/// All processes whose parent this one is.
fn children() -> Vec<i32> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|children| {
            let pids = children.split_ascii_whitespace();
            pids.filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}
