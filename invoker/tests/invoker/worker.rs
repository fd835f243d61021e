//! Workers of one's own: the protocol as runtimes/README.md tells it, spoken by a test.

use crate::function::Setup;

/// A worker in a few lines, as somebody would write one for a language of their own.
const ECHO: &str = r#"
import os, struct, subprocess, sys
link = int(os.environ['FERMATA_LINK'])
def send(kind, call, payload=b''):
    os.write(link, struct.pack('>IBI', len(payload), kind, call) + payload)
def read(size):
    data = b''
    while len(data) < size:
        part = os.read(link, size - len(data))
        if not part: sys.exit(0)
        data += part
    return data
mode = sys.argv[1]
if mode == 'early': sys.exit(5)
send(16, 0)
while True:
    size, kind, call = struct.unpack('>IBI', read(9))
    payload = read(size)
    if kind != 1: continue
    head = struct.unpack('>I', payload[:4])[0]
    if mode == 'echo':
        answer = b'200\0x-worker\0own'
        send(17, call, struct.pack('>I', len(answer)) + answer + payload[4 + head:])
    elif mode == 'garbage':
        send(99, call)
    elif mode == 'flood':
        send(18, call, b'200')
        while True: send(19, call, b'x' * 65536)
    elif mode == 'huge':
        os.write(link, struct.pack('>IBI', 1 << 30, 19, call))
    elif mode == 'last':
        subprocess.Popen(['sleep', '60'], pass_fds=[link])
        send(17, call, struct.pack('>I', 3) + b'200' + b'last words')
        os._exit(0)
    elif mode == 'cut':
        os.write(link, struct.pack('>IBI', 100, 19, call) + b'x')
    elif mode == 'headless':
        send(19, call, b'x'); send(19, call); send(20, call)
    elif mode == 'unasked':
        send(20, 4711); send(21, 4712, b'500\0x'); send(17, call, struct.pack('>I', 3) + b'204')
"#;

fn worker(mode: &str) -> Setup {
    let setup = Setup::new("worker").file("worker.py", ECHO);
    ["--", "python3", "worker.py", mode]
        .iter()
        .fold(setup, |setup, argument| setup.argument(*argument))
}

#[tokio::test]
async fn a_worker_of_ones_own_answers() {
    let function = worker("echo").start();
    let answer = function.post("/", "hello").await;
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    assert_eq!(answer.headers["x-worker"], "own");
}

#[tokio::test]
async fn frames_about_calls_that_are_none_are_passed_over() {
    let function = worker("unasked").start();
    assert_eq!(function.get("/").await.status, 204);
}

#[tokio::test]
async fn what_a_worker_has_said_before_its_end_is_heard() {
    let mut function = worker("last").start();
    let answer = function.get("/").await;
    assert_eq!((answer.status, answer.text()), (200, "last words"));
    function.restarted().await;
    assert_eq!(function.get("/").await.text(), "last words");
}

#[tokio::test]
async fn a_body_without_a_head_is_no_answer() {
    let function = worker("headless").start();
    for _ in 0..2 {
        let answer = function.get("/").await;
        assert_eq!(answer.status, 500);
        assert!(answer.text().contains("no valid HTTP"), "{}", answer.text());
    }
    function.logged("ended before it had a head").await;
}

#[tokio::test]
async fn a_frame_that_does_not_go_on_is_not_waited_for_without_end() {
    let mut function = worker("cut").start();
    assert_eq!(function.get("/").await.status, 500);
    function.logged("stopped in the middle of a frame").await;
    function.restarted().await;
}

#[tokio::test]
async fn a_worker_that_breaks_the_protocol_ends_the_program() {
    for (mode, sentence) in [
        ("garbage", "unknown kind 99"),
        ("huge", "a frame of 1073741824 bytes"),
    ] {
        let mut function = worker(mode).start();
        assert_eq!(function.get("/").await.status, 500, "{mode}");
        function.logged(sentence).await;
        assert_eq!(function.ended().await.code(), Some(1));
    }
}

#[tokio::test]
async fn a_worker_that_sends_without_credit_is_cut_off() {
    let mut function = worker("flood").start();
    let stream = function.raw(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    function
        .logged("more of an answer than it had credit for")
        .await;
    drop(stream);
    assert_eq!(function.ended().await.code(), Some(1));
}

#[test]
fn a_worker_that_ends_before_it_is_ready_is_told() {
    let (status, text) = worker("early").fail();
    assert_eq!(status.code(), Some(1));
    assert!(text.contains("ended with exit code 5"), "{text}");
}
