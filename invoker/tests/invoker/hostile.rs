//! Handlers that lay hands on what is not theirs. Whatever they do, each call ends, with an answer or
//! with a clear error, and a new worker is there for the next.

use std::time::Duration;

use crate::function::{Function, Setup};

/// More than the invoker takes for a frame that does not go on.
const PATIENCE: Duration = Duration::from_secs(25);

/// Calls until the function answers again, starting it anew where it has ended; how often it had to
/// be.
async fn survives(function: &mut Function, path: &str, what: &str) -> usize {
    let request = http::Request::get(function.url(path))
        .body(http_body_util::Full::<hyper::body::Bytes>::default())
        .unwrap();
    // Any answer will do, and a connection that breaks, but not silence.
    let answer = tokio::time::timeout(PATIENCE, crate::function::client().request(request)).await;
    assert!(answer.is_ok(), "{what}: no end: {}", function.log());
    for restarts in 0.. {
        assert!(restarts < 3, "{what}: {}", function.log());
        let next = tokio::time::timeout(PATIENCE, function.try_get("/")).await;
        match next.unwrap_or_else(|_| panic!("{what}: no end: {}", function.log())) {
            Some((200, text)) => {
                assert_eq!(text, "alive", "{what}");
                return restarts;
            }
            // It was about to end when it was called.
            _ => function.restarted().await,
        }
    }
    unreachable!()
}

#[tokio::test]
async fn a_python_handler_that_closes_all_descriptors_ends_its_worker() {
    let source = "
import os, socket, tempfile
held = []
def work(path):
    if path == '/': return 'alive'
    if path == '/replaced':
        nothing = os.open('/dev/null', os.O_RDWR)
        for fd in range(3, 256): os.dup2(nothing, fd)
        return 'gone astray'
    if path == '/socket':
        pair = socket.socketpair()
        for fd in range(3, 256):
            if fd != pair[0].fileno(): os.dup2(pair[0].fileno(), fd)
        held.append(pair)
        return 'gone astray'
    os.closerange(3, 256)
    if path == '/reused':
        held.extend(tempfile.TemporaryFile() for _ in range(30))
    if path == '/fails': raise RuntimeError('after it')
    if path == '/streams': return iter(['gone', 'astray'])
    return 'gone astray'
";
    for handler in [
        "def handle(request): return work(request.path)",
        "async def handle(request): return work(request.path)",
    ] {
        let source = format!("{source}\n{handler}\n");
        let mut function = Setup::new("python").file("main.py", &source).start();
        for path in [
            "/closed",
            "/reused",
            "/fails",
            "/streams",
            "/replaced",
            "/socket",
        ] {
            let restarts = survives(&mut function, path, path).await;
            assert_eq!(restarts, 1, "{path}: {}", function.log());
        }
        function.logged("the link to the invoker is lost").await;
    }
}

#[tokio::test]
async fn a_node_handler_that_closes_all_descriptors_ends_its_worker() {
    let source = "
import { closeSync, openSync } from 'node:fs';
export async function handle(request) {
  if (request.path === '/') return 'alive';
  for (let fd = 3; fd < 256; fd++) try { closeSync(fd); } catch {}
  if (request.path === '/reused') for (let n = 0; n < 30; n++) openSync('/dev/null', 'r+');
  if (request.path === '/fails') throw new Error('after it');
  return 'gone astray';
}
";
    let mut function = Setup::new("node").file("main.mjs", source).start();
    for path in ["/closed", "/reused", "/fails"] {
        let restarts = survives(&mut function, path, path).await;
        assert_eq!(restarts, 1, "{path}: {}", function.log());
    }
}

/// What a handler may write to a descriptor that is not its own: frames that are none, that are cut,
/// and that belong to others.
const SCRIBBLES: &str = "
import os, random, struct
def frame(kind, call, payload, size=None):
    return struct.pack('>IBI', len(payload) if size is None else size, kind, call) + payload
def scribble(dice):
    kind = dice.choice([0, 1, 2, 3, 15, 16, 17, 18, 19, 20, 21, 22, 255])
    call = dice.choice([0, 1, 2, 3, 4, 2**32 - 1])
    payload = dice.randbytes(dice.choice([0, 1, 4, 9, 100]))
    size = dice.choice([None, None, None, 0, len(payload) + 1, len(payload) + 50, 2**20, 2**20 + 1, 2**32 - 1])
    return dice.choice([frame(kind, call, payload, size), dice.randbytes(dice.randrange(1, 40)), b'\\x00' * dice.randrange(1, 30)])
";

#[tokio::test]
async fn a_python_handler_that_writes_to_the_link_harms_nobody_for_long() {
    let source = format!(
        "{SCRIBBLES}
def handle(request):
    if request.path == '/': return 'alive'
    dice = random.Random(request.path)
    for _ in range(dice.randrange(1, 6)):
        data = scribble(dice)
        for fd in range(3, 20):
            try: os.write(fd, data)
            except OSError: pass
    return 'written'
"
    );
    let mut function = Setup::new("python").file("main.py", &source).start();
    let mut restarts = 0;
    for round in 0..40 {
        let path = format!("/{round}");
        restarts += survives(&mut function, &path, &path).await;
    }
    assert!(restarts > 5, "the link was not met: {restarts}");
}

#[tokio::test]
async fn a_node_handler_that_writes_to_any_descriptor_harms_nobody_for_long() {
    let source = "
import { writeSync } from 'node:fs';
export function handle(request) {
  if (request.path === '/') return 'alive';
  let seed = Number(request.path.slice(1)) + 1;
  const dice = (most) => (seed = (seed * 48271) % 0x7fffffff) % most;
  for (let n = dice(5) + 1; n > 0; n--) {
    const data = Buffer.alloc(9 + dice(40));
    for (let i = 0; i < data.length; i++) data[i] = dice(256);
    if (dice(2)) data.writeUInt32BE(dice(2) ? data.length - 9 : 1 << 20, 0);
    if (dice(2)) data[4] = 16 + dice(6);
    if (dice(2)) data.writeUInt32BE(dice(4), 5);
    for (let fd = 3; fd < 24; fd++) try { writeSync(fd, data); } catch {}
  }
  return 'written';
}
";
    let mut function = Setup::new("node").file("main.mjs", source).start();
    let mut restarts = 0;
    for round in 0..20 {
        let path = format!("/{round}");
        restarts += survives(&mut function, &path, &path).await;
    }
    assert!(restarts > 2, "the link was not met: {restarts}");
}
