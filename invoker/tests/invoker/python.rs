//! Python handlers.

use futures::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use serde_json::json;

use crate::function::{Function, Setup, client, eventually, rest};

fn python(source: &str) -> Function {
    Setup::new("python").file("main.py", source).start()
}

#[tokio::test]
async fn a_handler_sees_all_of_the_request() {
    let function = python(
        "
def handle(request):
    return {
        'method': request.method, 'path': request.path, 'query': request.query,
        'raw': request.query_string, 'all': request.query_all('a'),
        'header': request.headers['X-Thing'], 'missing': request.headers.get('x-none', 'none'),
        'has': 'x-thing' in request.headers, 'text': request.text(), 'size': len(request.body),
    }
",
    );
    let request = http::Request::post(function.url("/p/q%20r?a=1&a=2&b=%C3%A4&c"))
        .header("x-thing", "one")
        .header("x-thing", "two");
    let answer = function.send(request, "hällo").await;
    assert_eq!((answer.status, answer.kind()), (200, "application/json"));
    assert_eq!(
        answer.json(),
        json!({"method": "POST", "path": "/p/q%20r", "query": {"a": "1", "b": "ä", "c": ""},
            "raw": "a=1&a=2&b=%C3%A4&c", "all": ["1", "2"], "header": "one, two",
            "missing": "none", "has": true, "text": "hällo", "size": 6})
    );
}

#[tokio::test]
async fn every_kind_of_answer_becomes_a_response() {
    let function = python(
        "
from fermata import Response, HTTPError

def handle(request):
    kind = request.path[1:]
    if kind == 'text': return 'tëxt'
    if kind == 'bytes': return b'\\x00\\xff'
    if kind == 'dict': return {'a': [1, None, True]}
    if kind == 'list': return [1, 2]
    if kind == 'number': return 42
    if kind == 'none': return None
    if kind == 'pair': return 'made', 201
    if kind == 'triple': return {'ok': False}, 418, {'X-Tea': 'pot', 'Content-Type': 'application/tea+json'}
    if kind == 'response': return Response('x', status=202, headers=[('set-cookie', 'a=1'), ('set-cookie', 'b=2')])
    if kind == 'empty': return Response(status=304)
    if kind == 'error': raise HTTPError(404, 'no such thing')
",
    );
    for (path, status, kind, body) in [
        ("text", 200, "text/plain; charset=utf-8", "tëxt"),
        ("dict", 200, "application/json", "{\"a\":[1,null,true]}"),
        ("list", 200, "application/json", "[1,2]"),
        ("number", 200, "application/json", "42"),
        ("none", 204, "", ""),
        ("pair", 201, "text/plain; charset=utf-8", "made"),
        ("triple", 418, "application/tea+json", "{\"ok\":false}"),
        ("response", 202, "text/plain; charset=utf-8", "x"),
        ("empty", 304, "", ""),
    ] {
        let answer = function.get(&format!("/{path}")).await;
        assert_eq!(
            (answer.status, answer.kind(), answer.text()),
            (status, kind, body),
            "{path}"
        );
    }
    let answer = function.get("/bytes").await;
    assert_eq!(
        (answer.kind(), &answer.body[..]),
        ("application/octet-stream", &[0, 0xff][..])
    );
    let answer = function.get("/response").await;
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
    let answer = function.get("/error").await;
    assert_eq!(
        (answer.status, answer.kind()),
        (404, "application/problem+json")
    );
    assert_eq!(answer.json()["detail"], "no such thing");
}

#[tokio::test]
async fn an_exception_is_a_500_and_its_traceback_is_in_the_log_only() {
    let function = python(
        "
def inner():
    raise ValueError('secret detail')

def handle(request):
    inner()
",
    );
    let answer = function.get("/x").await;
    assert_eq!(
        (answer.status, answer.kind()),
        (500, "application/problem+json")
    );
    assert!(!answer.text().contains("secret"));
    function.logged("ValueError: secret detail").await;
    let log = function.log();
    assert!(log.contains("the handler failed on GET /x"), "{log}");
    assert!(log.contains("main.py\", line 3, in inner"), "{log}");
    assert!(
        !log.contains("run_call") && !log.contains("<string>"),
        "{log}"
    );
    assert_eq!(function.get("/x").await.status, 500, "it goes on");
}

#[tokio::test]
async fn answers_that_are_none_are_a_500_with_a_reason_in_the_log() {
    let function = python(
        "
def handle(request):
    kind = request.path[1:]
    if kind == 'object': return object()
    if kind == 'status': return 'x', 42
    if kind == 'short': return ('x',)
    if kind == 'unjson': return {'x': object()}
    if kind == 'exit': raise SystemExit(3)
",
    );
    for (path, reason) in [
        ("object", "cannot return object"),
        ("status", "42 is not a status"),
        ("short", "a tuple must be"),
        ("unjson", "not JSON serializable"),
        ("exit", "SystemExit: 3"),
    ] {
        assert_eq!(
            function.get(&format!("/{path}")).await.status,
            500,
            "{path}"
        );
        function.logged(reason).await;
    }
}

#[tokio::test]
async fn bad_input_that_the_handler_reads_is_a_400() {
    let function = python(
        "
def handle(request):
    return request.json() if request.path == '/json' else request.text()
",
    );
    let answer = function.post("/json", "{").await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.json()["detail"]
            .as_str()
            .unwrap()
            .contains("the body is not JSON")
    );
    assert_eq!(function.post("/text", &b"\xff"[..]).await.status, 400);
    let request = http::Request::post(function.url("/text"))
        .header("content-type", "text/plain; charset=latin-1");
    let answer = function.send(request, &b"\xe4"[..]).await;
    assert_eq!(answer.text(), "ä");
}

#[tokio::test]
async fn a_hundred_calls_run_at_once() {
    for source in [
        "
import threading
barrier = threading.Barrier(100, timeout=20)
def handle(request):
    barrier.wait()
    return request.query['n']
",
        "
import asyncio
arrived = 0
event = asyncio.Event()
async def handle(request):
    global arrived
    arrived += 1
    if arrived == 100: event.set()
    await event.wait()
    return request.query['n']
",
    ] {
        let function = Setup::new("python")
            .file("main.py", source)
            .variable("FERMATA_THREADS", "100")
            .start();
        let calls = (0..100).map(|n| {
            let function = &function;
            async move { (n, function.get(&format!("/?n={n}")).await) }
        });
        for (n, answer) in join_all(calls).await {
            assert_eq!(
                (answer.status, answer.text()),
                (200, n.to_string().as_str())
            );
        }
    }
}

#[tokio::test]
async fn calls_beyond_the_limit_wait_for_their_turn() {
    let function = Setup::new("python")
        .file(
            "main.py",
            "
import threading, time
lock, now, most = threading.Lock(), 0, 0
def handle(request):
    global now, most
    with lock:
        now += 1
        most = max(most, now)
    time.sleep(0.01)
    with lock: now -= 1
    return most
",
        )
        .variable("FERMATA_CONCURRENCY", "2")
        .start();
    let mut calls: FuturesUnordered<_> = (0..20).map(|_| function.get("/")).collect();
    while let Some(answer) = calls.next().await {
        assert!(answer.json().as_u64().unwrap() <= 2);
    }
}

#[tokio::test]
async fn generators_are_streamed_as_they_go() {
    for source in [
        "
import threading
gate = threading.Event()
def stream():
    yield 'first'
    gate.wait(20)
    yield b' second'
def handle(request):
    if request.path == '/go': gate.set(); return None
    return stream()
",
        "
import asyncio
gate = asyncio.Event()
async def handle(request):
    if request.path == '/go': gate.set(); return
    async def stream():
        yield 'first'
        await gate.wait()
        yield b' second'
    return stream(), 200, {'x-a': 'b'}
",
    ] {
        let function = python(source);
        let request = http::Request::get(function.url("/")).body(Full::<Bytes>::default());
        let response = client()
            .request(request.unwrap())
            .await
            .expect("a response");
        assert_eq!(
            response.headers()["content-type"],
            "text/plain; charset=utf-8"
        );
        let mut body = response.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "first", "before the rest is there");
        assert_eq!(function.get("/go").await.status, 204);
        assert_eq!(body.collect().await.unwrap().to_bytes(), " second");
    }
}

#[tokio::test]
async fn a_stream_that_fails_is_broken_off_and_not_ended() {
    let function = python(
        "
def handle(request):
    if request.path == '/early':
        raise_early()
    yield 'some'
    raise RuntimeError('in the middle')
def raise_early(): raise RuntimeError('at once')
",
    );
    assert_eq!(function.get("/early").await.status, 500);
    let stream = function.raw(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let text = rest(stream);
    // What was not sent yet when it failed may be lost.
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 200"),
        "{text}"
    );
    assert!(!text.ends_with("0\r\n\r\n"), "{text}");
    function.logged("in the middle").await;
}

#[tokio::test]
async fn a_slow_reader_of_a_large_answer_holds_up_nobody() {
    let function = python(
        "
def handle(request):
    return b'x' * 50_000_000 if request.path == '/large' else 'small'
",
    );
    let slow = function.raw(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    for _ in 0..20 {
        assert_eq!(function.get("/").await.text(), "small");
    }
    let large = tokio::task::spawn_blocking(move || rest(slow))
        .await
        .unwrap();
    let body = large.split_once("\r\n\r\n").unwrap().1;
    assert!(large.contains("chunked") && body.len() > 50_000_000);
}

#[tokio::test]
async fn large_bodies_come_whole_and_too_large_ones_are_refused() {
    let function = Setup::new("python")
        .file(
            "main.py",
            "def handle(request): return str(len(request.body))",
        )
        .variable("FERMATA_MAX_BODY", "3000000")
        .start();
    let answer = function.post("/", vec![7; 3_000_000]).await;
    assert_eq!(answer.text(), "3000000");
    let answer = function.post("/", vec![7; 3_000_001]).await;
    assert_eq!(
        (answer.status, answer.kind()),
        (413, "application/problem+json")
    );

    // The length is not told, and told wrongly.
    let mut chunked = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..31 {
        chunked.extend_from_slice(b"186A0\r\n");
        chunked.extend_from_slice(&vec![7; 100_000]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let address = function.address;
    let text = tokio::task::spawn_blocking(move || {
        use std::io::Write as _;
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let _ = stream.write_all(&chunked);
        rest(stream)
    });
    assert!(text.await.unwrap().starts_with("HTTP/1.1 413"));
    let stream = function.raw(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nshort");
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(!rest(stream).starts_with("HTTP/1.1 200"));
    assert_eq!(function.post("/", "ok").await.text(), "2");
}

#[tokio::test]
async fn a_caller_that_goes_cancels_an_async_handler() {
    let function = python(
        "
import asyncio
async def handle(request):
    if request.path == '/ping': return 'pong'
    try:
        print('waiting')
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print('cancelled')
        raise
",
    );
    let stream = function.raw(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    function.logged("waiting").await;
    drop(stream);
    function.logged("cancelled").await;
    assert_eq!(function.get("/ping").await.text(), "pong");
    assert!(
        !function.log().contains("handler failed"),
        "{}",
        function.log()
    );
}

#[tokio::test]
async fn a_caller_that_goes_ends_a_stream() {
    let function = python(
        "
import time
def stream():
    try:
        while True:
            yield 'x' * 1000
            time.sleep(0.001)
    finally:
        print('closed')
def handle(request):
    return stream()
",
    );
    let mut stream = function.raw(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut some = [0; 100];
    std::io::Read::read_exact(&mut stream, &mut some).unwrap();
    drop(stream);
    function.logged("closed").await;
}

#[tokio::test]
async fn a_handler_may_be_anything_that_can_be_called() {
    for (handler, source) in [
        ("app.greet", "def greet(request): return 'hi'"),
        (
            "main.handle",
            "class H:\n    def __call__(self, request): return 'hi'\nhandle = H()",
        ),
        (
            "main.handle",
            "class H:\n    async def __call__(self, request): return 'hi'\nhandle = H()",
        ),
        (
            "main.handle",
            "async def inner(): return 'hi'\nhandle = lambda request: inner()",
        ),
        ("main.handle", "async def handle(request):\n    yield 'hi'"),
        (
            "main.handle",
            "import functools\nhandle = functools.partial(lambda a, request: a, 'hi')",
        ),
    ] {
        let file = format!("{}.py", handler.split('.').next().unwrap());
        let function = Setup::new("python")
            .file(&file, source)
            .handler(handler)
            .start();
        assert_eq!(function.get("/").await.text(), "hi", "{source}");
    }
}

#[tokio::test]
async fn several_files_and_what_is_printed() {
    let function = Setup::new("python")
        .file("main.py", "import helper, sys\nprint('loaded')\ndef handle(r):\n    print('one', r.path)\n    print('two', file=sys.stderr)\n    return helper.text + repr(sys.stdin.read())")
        .file("helper.py", "text = 'helped'")
        .start();
    assert_eq!(function.get("/p").await.text(), "helped''");
    for line in ["loaded", "one /p", "two"] {
        function.logged(line).await;
    }
}

#[tokio::test]
async fn logging_has_level_time_and_request_without_being_set_up() {
    let source = "
import logging
from fermata import HTTPError
log = logging.getLogger('shop')
def handle(request):
    if request.path == '/own':
        logging.basicConfig(format='own %(levelname)s %(message)s', force=True)
    log.debug('not shown')
    log.info('sold %s', request.path)
    logging.warning('low')
    if request.path == '/fails': raise ValueError('no')
";
    let aio = source.replace("def handle", "async def handle");
    for source in [source, aio.as_str()] {
        let function = python(source);
        let call = async |path: &str| {
            let request = http::Request::get(function.url(path)).header("x-request-id", "id-7");
            function.send(request, "").await
        };
        call("/a").await;
        function.logged(" INFO shop [id-7] sold /a\n").await;
        function.logged(" WARNING root [id-7] low\n").await;
        call("/fails").await;
        function
            .logged("the handler failed on GET /fails (request id-7)\n")
            .await;
        call("/own").await;
        function.logged("own INFO sold /own\n").await;
        assert!(!function.log().contains("not shown"));
        let year = function.log().lines().next().unwrap_or_default()[..4].to_owned();
        assert!(year.parse::<u32>().is_ok(), "{}", function.log());
    }
}

#[tokio::test]
async fn packages_of_the_site_are_found() {
    let site = tempfile::tempdir().unwrap();
    std::fs::write(site.path().join("thing.py"), "text = 'from the path'").unwrap();
    let function = Setup::new("python")
        .file("main.py", "import thing, importlib.util\ndef handle(r): return thing.text + str(importlib.util.find_spec('pip') is not None)")
        .variable("PYTHONPATH", site.path().to_str().unwrap())
        .start();
    let here = std::process::Command::new("python3")
        .args([
            "-c",
            "import importlib.util; print(importlib.util.find_spec('pip') is not None, end='')",
        ])
        .output()
        .unwrap();
    let expected = format!("from the path{}", String::from_utf8(here.stdout).unwrap());
    assert_eq!(function.get("/").await.text(), expected);
}

#[tokio::test]
async fn packages_that_the_image_does_not_have_are_warned_of_where_that_is_wanted() {
    // A folder of site packages of its own, since not every machine has packages.
    let environment = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("python3")
        .args(["-m", "venv", "--without-pip"])
        .arg(environment.path())
        .status()
        .unwrap();
    assert!(made.success());
    let python = environment.path().join("bin/python3");
    let site = std::process::Command::new(&python)
        .args([
            "-c",
            "import sysconfig; print(sysconfig.get_path('purelib'), end='')",
        ])
        .output()
        .unwrap();
    let site = String::from_utf8(site.stdout).unwrap();
    std::fs::write(format!("{site}/thing_of_this_machine.py"), "text = 'found'").unwrap();
    for (setting, is_told) in [("warn", true), ("allow", false)] {
        let function = Setup::new("python")
            .file("main.py", "import json, thing_of_this_machine\ndef handle(r):\n    print('called')\n    return thing_of_this_machine.text")
            .variable("FERMATA_PYTHON", python.to_str().unwrap())
            .variable("FERMATA_SITE_PACKAGES", setting)
            .start();
        assert_eq!(function.get("/").await.text(), "found");
        function.logged("called").await;
        let log = function.log();
        assert_eq!(
            log.contains("thing_of_this_machine is a package of this machine"),
            is_told,
            "{log}"
        );
    }
}

#[test]
fn what_cannot_be_loaded_says_why_and_ends() {
    let cases: [(&str, &str, &[&str]); 7] = [
        (
            "main.handle",
            "def handle(r:\n",
            &["main.py, line 1: SyntaxError: '(' was never closed"],
        ),
        (
            "main.handle",
            "import nothing_of_this_name\n",
            &["main.py, line 1: ModuleNotFoundError: No module named 'nothing_of_this_name'"],
        ),
        (
            "main.handle",
            "x = 1\n1 / 0\n",
            &["main.py, line 2: ZeroDivisionError: division by zero"],
        ),
        (
            "main.other",
            "def handle(r): pass\n",
            &["the module main has no other"],
        ),
        (
            "app.handle",
            "def handle(r): pass\n",
            &["no module app", "the source has: main.py"],
        ),
        ("handle", "def handle(r): pass\n", &["MODULE.FUNCTION"]),
        (
            "main.handle",
            "handle = 3\n",
            &["is a int and cannot be called"],
        ),
    ];
    for (handler, source, expected) in cases {
        let (status, text) = Setup::new("python")
            .file("main.py", source)
            .handler(handler)
            .fail();
        assert_eq!(status.code(), Some(1), "{text}");
        for part in expected {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        // The last line is what the cluster shows.
        let last = text.lines().last().unwrap_or_default();
        assert!(last.contains(expected[0]), "{text}");
        assert!(!text.contains("<string>"), "{text}");
    }
}

#[test]
fn a_python_that_is_not_there_is_named() {
    let (status, text) = Setup::new("python")
        .variable("FERMATA_PYTHON", "python9")
        .fail();
    assert_eq!(status.code(), Some(1));
    assert!(
        text.contains("python9") && text.contains("FERMATA_PYTHON"),
        "{text}"
    );
}

#[tokio::test]
async fn a_worker_that_dies_fails_its_calls_and_ends_the_program() {
    let mut function = python(
        "
import os, time
def handle(request):
    if request.path == '/die': os._exit(9)
    print('waiting')
    time.sleep(60)
",
    );
    let waiting = async {
        let answer = function.get("/wait").await;
        (answer.status, answer.text().to_owned())
    };
    let dying = async {
        function.logged("waiting").await;
        function.get("/die").await.status
    };
    let ((status, text), died) = tokio::join!(waiting, dying);
    assert_eq!((status, died), (500, 500));
    assert!(text.contains("the function's process ended"), "{text}");
    assert_eq!(function.ended().await.code(), Some(1));
    eventually("in the log", || {
        function.log().contains("ended with exit code 9")
    })
    .await;
}

#[tokio::test]
async fn errors_that_are_odd_fail_their_call_and_no_other() {
    let function = python(
        "
import sys
from fermata import HTTPError
class Broken:
    def __str__(self): raise RuntimeError('cannot be told')
class Odd(Exception):
    def __str__(self): raise RuntimeError('cannot be told')
class Base(BaseException): pass
def handle(request):
    kind = request.path[1:]
    if kind == 'status': raise HTTPError('404', 's3cret')
    if kind == 'success': raise HTTPError(200, 's3cret')
    if kind == 'detail': raise HTTPError(400, Broken())
    if kind == 'odd': raise Odd()
    if kind == 'base': raise Base('s3cret')
    if kind == 'deep': return handle(request)
    if kind == 'closed':
        sys.stderr, sys.stdout = None, None
        raise ValueError('after the streams')
    if kind == 'told': raise HTTPError(404, 'no such\\nfermata: forged')
    return 'fine'
",
    );
    for path in [
        "status", "success", "detail", "odd", "base", "deep", "closed",
    ] {
        let answer = function.get(&format!("/{path}")).await;
        assert_eq!(answer.status, 500, "{path}");
        assert!(!answer.text().contains("s3cret"), "{}", answer.text());
        function
            .logged(&format!("the handler failed on GET /{path}\n"))
            .await;
        assert_eq!(function.get("/").await.text(), "fine", "{path}");
    }
    function.logged("after the streams").await;
    assert_eq!(function.get("/told").await.status, 404);
    function
        .logged("the handler answered GET /told with 404: 'no such\\nfermata: forged'")
        .await;
}
