//! What the programs that a handler starts get, and what they do not.

use std::time::Duration;

use serde_json::json;

use crate::function::{Answer, Function, Setup, eventually};

/// A child that waits for something it never gets would take longer.
const SOON: Duration = Duration::from_secs(20);

fn python(source: &str) -> Function {
    Setup::new("python").file("main.py", source).start()
}

fn node(source: &str) -> Function {
    Setup::new("node").file("main.mjs", source).start()
}

async fn get(function: &Function, path: &str) -> Answer {
    let answer = tokio::time::timeout(SOON, function.get(path)).await;
    answer.unwrap_or_else(|_| panic!("no answer: {}", function.log()))
}

#[tokio::test]
async fn the_standard_input_of_a_handler_and_its_children_is_empty() {
    for function in [
        python(
            "
import asyncio, os, subprocess, sys
async def handle(request):
    if request.path == '/own': return repr(sys.stdin.read()) + repr(os.read(0, 10))
    child = await asyncio.create_subprocess_exec('cat')
    os.system('cat')
    os.spawnlp(os.P_WAIT, 'cat', 'cat')
    return str(await child.wait()) + str(subprocess.run(['cat'], capture_output=True).stdout)
",
        ),
        node(
            "
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
export async function handle(request) {
  if (request.path === '/own') {
    let text = '';
    for await (const piece of process.stdin) text += piece;
    return `'${text}'b'${readFileSync(0)}'`;
  }
  const child = spawn('cat', [], { stdio: 'inherit' });
  const code = await new Promise((resolve) => child.on('exit', resolve));
  return `${code}b'${spawnSync('cat', [], { stdio: ['inherit', 'pipe', 'inherit'] }).stdout}'`;
}
",
        ),
    ] {
        let requests = (0..10).map(|_| get(&function, "/secret?token=abc"));
        for answer in futures::future::join_all(requests).await {
            assert_eq!(answer.text(), "0b''");
        }
        assert_eq!(get(&function, "/own").await.text(), "''b''");
        assert!(!function.log().contains("token"), "{}", function.log());
    }
}

/// A program that tells its descriptors but the one with which it looks.
const LIST: &str = "import os; print(sorted(fd for fd in map(int, os.listdir('/proc/self/fd')) if os.path.exists(f'/proc/self/fd/{fd}')))";

#[tokio::test]
async fn children_get_the_standard_descriptors_and_no_other() {
    // Whoever runs this test may have left it some more.
    let here = std::process::Command::new("python3")
        .args(["-c", LIST])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let here: Vec<i32> = serde_json::from_slice(&here.stdout).unwrap();
    for function in [
        Setup::new("python")
            .file("list.py", LIST)
            .file(
                "main.py",
                "
import os, subprocess
def handle(request):
    if request.path == '/environment': return str('FERMATA_LINK' in subprocess.check_output(['env'], text=True))
    return subprocess.check_output(['python3', 'list.py'], close_fds=False)
",
            )
            .start(),
        Setup::new("node")
            .file("list.py", LIST)
            .file(
                "main.mjs",
                "
import { execFileSync } from 'node:child_process';
export function handle(request) {
  if (request.path === '/environment') return `${execFileSync('env')}`.includes('FERMATA_LINK') ? 'True' : 'False';
  return execFileSync('python3', ['list.py'], { stdio: ['inherit', 'pipe', 'inherit'] });
}
",
            )
            .start(),
        Setup::new("command")
            .file("list.py", LIST)
            .handler("sh -c '[ $PATH_INFO = / ] && exec python3 list.py; printf False'")
            .start(),
    ] {
        let got: Vec<i32> = serde_json::from_slice(&get(&function, "/").await.body).unwrap();
        assert!(got.starts_with(&[0, 1, 2]), "{got:?}");
        assert!(got.iter().all(|fd| here.contains(fd)), "{got:?}, {here:?}");
        assert_eq!(get(&function, "/environment").await.text(), "False");
    }
}

#[tokio::test]
async fn a_forked_child_has_no_link_and_no_part_in_the_calls() {
    let function = python(
        "
import multiprocessing, os, socket, stat, sys
fork = multiprocessing.get_context('fork')

def sockets():
    found = []
    for fd in range(3, 256):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode): found.append(fd)
        except OSError: pass
    return found

def tell(pipe): pipe.send(sockets())

def handle(request):
    if request.path == '/sockets':
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(theirs, repr(sockets()).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        return os.read(ours, 100)
    pid = os.fork()
    if pid == 0:
        if request.path == '/returns': return 'of the child'
        if request.path == '/streams': return iter(['of', 'the', 'child'])
        if request.path == '/exits': sys.exit(7)
        if request.path == '/fails': raise RuntimeError('in the child')
    return {'exit': os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}
",
    );
    assert_eq!(get(&function, "/sockets").await.text(), "[]");
    for (path, code) in [("returns", 0), ("streams", 0), ("exits", 7), ("fails", 1)] {
        let answer = get(&function, &format!("/{path}")).await;
        assert_eq!(answer.json(), json!({ "exit": code }), "{path}");
    }
    function.logged("RuntimeError: in the child").await;
    assert_eq!(get(&function, "/returns").await.json(), json!({"exit": 0}));
}

#[tokio::test]
async fn forked_children_end_when_they_are_told_to() {
    let source = "
import multiprocessing, os, signal, time
from concurrent.futures import ProcessPoolExecutor
fork = multiprocessing.get_context('fork')

def square(n): return n * n
def rest(begun):
    begun.set()
    time.sleep(60)

def work(path):
    if path == '/pool':
        with fork.Pool(2) as pool: return sum(pool.map(square, range(10)))
    if path == '/executor':
        with ProcessPoolExecutor(2, mp_context=fork) as pool: return sum(pool.map(square, range(10)))
    begun = fork.Event()
    child = fork.Process(target=rest, args=[begun])
    child.start()
    if path == '/interrupt':
        begun.wait()
        # Python swallows an interrupt that meets it in a callback.
        while child.is_alive():
            os.kill(child.pid, signal.SIGINT)
            child.join(3)
    else:
        # Told before it has begun.
        child.terminate()
    child.join()
    return child.exitcode
";
    for handler in [
        "def handle(request): return work(request.path)",
        "async def handle(request): return work(request.path)",
    ] {
        let function = python(&format!("{source}\n{handler}\n"));
        for (path, result) in [
            ("pool", 285),
            ("executor", 285),
            ("term", -15),
            ("interrupt", 1),
        ] {
            for _ in 0..5 {
                let answer = get(&function, &format!("/{path}")).await;
                assert_eq!(answer.json(), result, "{path}: {}", function.log());
            }
        }
    }
}

#[tokio::test]
async fn the_worker_itself_is_not_ended_by_signals_of_its_own() {
    let function = python(
        "
import os, signal, threading
def handle(request):
    if request.path == '/': return 'alive'
    for _ in range(100):
        pid = os.fork()
        if pid == 0: os._exit(0)
        os.waitpid(pid, 0)
        os.kill(os.getpid(), signal.SIGTERM)
    return str(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
",
    );
    // Several threads fork at once, and each keeps its mask.
    let requests = (0..4).map(|_| get(&function, "/forks"));
    for answer in futures::future::join_all(requests).await {
        assert_eq!(answer.text(), "[]");
    }
    assert_eq!(get(&function, "/").await.text(), "alive");
}

#[tokio::test]
async fn what_a_function_started_ends_with_it() {
    let mut function = python(
        "
import subprocess
def handle(request):
    pids = [subprocess.Popen(['sleep', '60'], start_new_session=new).pid for new in (False, True)]
    return ' '.join(map(str, pids))
",
    );
    let answer = get(&function, "/").await;
    function.signal(rustix::process::Signal::TERM);
    assert_eq!(function.ended().await.code(), Some(0));
    for pid in answer.text().split(' ') {
        eventually("gone", || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.is_ok_and(|stat| stat.contains(") Z"))
                || !std::path::Path::new(&format!("/proc/{pid}")).exists()
        })
        .await;
    }
}
