//! Workers that die, whatever lives on of what they have started.

use std::time::{Duration, Instant};

use crate::function::{Function, Setup, eventually};

/// Far less than the children of these handlers live.
const SOON: Duration = Duration::from_secs(20);

fn python(source: &str) -> Function {
    Setup::new("python").file("main.py", source).start()
}

fn node(source: &str) -> Function {
    Setup::new("node").file("main.mjs", source).start()
}

/// Has the worker die again and again: each time the caller hears of it at once, nothing of it is
/// left, and the next worker answers.
async fn dies(mut function: Function, how: &str) {
    for round in 0..2 {
        assert_eq!(function.get("/").await.text(), "alive", "{how}");
        let begun = Instant::now();
        let answer = tokio::time::timeout(SOON, function.get("/die")).await;
        let answer = answer.unwrap_or_else(|_| panic!("{how}: no answer: {}", function.log()));
        assert_eq!(answer.status, 500, "{how}");
        assert!(
            answer.text().contains("the function's process ended"),
            "{}",
            answer.text()
        );
        function.restarted().await;
        assert!(begun.elapsed() < SOON, "{how}");
        let log = function.log();
        let children: Vec<&str> = log
            .lines()
            .filter_map(|line| line.strip_prefix("child "))
            .collect();
        assert_eq!(children.len(), round + 1, "{how}: {log}");
        eventually("all children gone", || {
            children.iter().all(|pid| !is_alive(pid))
        })
        .await;
    }
}

/// A process that has ended but that nobody has waited for does not count.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|state| !state.starts_with(['Z', 'X']))
}

#[tokio::test]
async fn a_python_worker_that_dies_is_noticed_though_its_children_live() {
    let child = "
import ctypes, multiprocessing, os, signal, subprocess, time, faulthandler
from concurrent.futures import ProcessPoolExecutor
def rest(): time.sleep(60)
def start():
    child = multiprocessing.get_context('fork').Process(target=rest, daemon=True)
    child.start()
    return child.pid
";
    for (how, start, die) in [
        ("exit", "start()", "os._exit(3)"),
        ("segmentation fault", "start()", "ctypes.string_at(0)"),
        ("kill", "start()", "os.kill(os.getpid(), signal.SIGKILL)"),
        (
            "a program",
            "subprocess.Popen(['sleep', '60']).pid",
            "os._exit(3)",
        ),
        (
            "a program that got all descriptors",
            "subprocess.Popen(['sleep', '60'], close_fds=False).pid",
            "os.abort()",
        ),
        (
            "a program of another session",
            "subprocess.Popen(['sleep', '60'], start_new_session=True).pid",
            "os._exit(0)",
        ),
        (
            "a fork that Python knows nothing of",
            "ctypes.CDLL(None).fork() or (time.sleep(60), os._exit(0))",
            "os._exit(3)",
        ),
    ] {
        let handler = format!(
            "{child}
def handle(request):
    if request.path == '/': return 'alive'
    print('child', {start}, flush=True)
    {die}
"
        );
        dies(python(&handler), how).await;
        let handler = handler.replace("def handle", "async def handle");
        dies(python(&handler), how).await;
    }
}

#[tokio::test]
async fn a_python_worker_that_dies_is_noticed_though_its_pool_lives() {
    let source = "
import multiprocessing, os
from concurrent.futures import ProcessPoolExecutor
pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('fork'))
def handle(request):
    if request.path == '/': return 'alive'
    print('child', pool.submit(os.getpid).result(), flush=True)
    os._exit(1)
";
    dies(python(source), "pool").await;
}

#[tokio::test]
async fn a_node_worker_that_dies_is_noticed_though_its_children_live() {
    for die in [
        "process.exit(1)",
        "process.abort()",
        "process.kill(process.pid, 'SIGKILL')",
        "setImmediate(() => { throw new Error('nobody catches it'); })",
    ] {
        for options in [
            "{ stdio: 'inherit' }",
            "{ stdio: 'inherit', detached: true }",
        ] {
            let source = format!(
                "
import {{ spawn }} from 'node:child_process';
import {{ writeSync }} from 'node:fs';
export async function handle(request) {{
  if (request.path === '/') return 'alive';
  const child = spawn('sleep', ['60'], {options});
  writeSync(1, `child ${{child.pid}}\\n`);
  {die};
  await new Promise(() => {{}});
}}
"
            );
            dies(node(&source), die).await;
        }
    }
}

#[tokio::test]
async fn a_body_that_still_comes_does_not_hold_the_restart_up() {
    let mut function = python(
        "
import os
def handle(request):
    os._exit(1)
",
    );
    let upload = function.raw(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc");
    let begun = Instant::now();
    assert_eq!(function.get("/").await.status, 500);
    function.restarted().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{begun:?}");
    assert!(crate::function::rest(upload).starts_with("HTTP/1.1 500"));
}
