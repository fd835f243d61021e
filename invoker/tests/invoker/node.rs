//! JavaScript handlers.

use std::time::Duration;

use futures::future::join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use serde_json::json;

use crate::function::{Function, Setup, client, rest};

fn node(source: &str) -> Function {
    Setup::new("node").file("main.mjs", source).start()
}

#[tokio::test]
async fn a_handler_sees_all_of_the_request() {
    let function = node(
        "
export function handle(request) {
  return {
    method: request.method, path: request.path, raw: request.queryString,
    b: request.query.get('b'), all: request.query.getAll('a'), header: request.headers['x-thing'],
    text: request.text(), size: request.body.length,
  };
}
",
    );
    let request = http::Request::post(function.url("/p%20q?a=1&a=2&b=%C3%A4"))
        .header("x-thing", "one")
        .header("x-thing", "two");
    let answer = function.send(request, "hällo").await;
    assert_eq!((answer.status, answer.kind()), (200, "application/json"));
    assert_eq!(
        answer.json(),
        json!({"method": "POST", "path": "/p%20q", "raw": "a=1&a=2&b=%C3%A4", "b": "ä",
            "all": ["1", "2"], "header": "one, two", "text": "hällo", "size": 6})
    );
}

#[tokio::test]
async fn every_kind_of_answer_becomes_a_response() {
    let function = node(
        "
export async function handle(request) {
  switch (request.path) {
    case '/text': return 'tëxt';
    case '/bytes': return Buffer.from([0, 255]);
    case '/object': return { a: [1, null, true] };
    case '/number': return 42;
    case '/none': return;
    case '/response': return new Response('made', { status: 201, headers: { 'x-a': 'b' } });
    case '/empty': return new Response(null, { status: 304 });
    case '/thrown': throw new fermata.HttpError(404, 'no such thing');
    case '/json': return request.json();
    case '/fail': throw new Error('secret detail');
    case '/symbol': return Symbol('x');
  }
}
",
    );
    for (path, status, kind, body) in [
        ("text", 200, "text/plain; charset=utf-8", "tëxt"),
        ("object", 200, "application/json", "{\"a\":[1,null,true]}"),
        ("number", 200, "application/json", "42"),
        ("none", 204, "", ""),
        ("response", 201, "text/plain;charset=UTF-8", "made"),
        ("empty", 304, "", ""),
    ] {
        let answer = function.get(&format!("/{path}")).await;
        assert_eq!(
            (answer.status, answer.kind(), answer.text()),
            (status, kind, body),
            "{path}"
        );
    }
    assert_eq!(&function.get("/bytes").await.body[..], &[0, 255]);
    let answer = function.get("/thrown").await;
    assert_eq!(
        (answer.status, answer.kind()),
        (404, "application/problem+json")
    );
    assert_eq!(answer.json()["detail"], "no such thing");
    assert_eq!(function.post("/json", "{").await.status, 400);
    let answer = function.get("/fail").await;
    assert_eq!(answer.status, 500);
    assert!(!answer.text().contains("secret"));
    function.logged("Error: secret detail").await;
    assert_eq!(function.get("/symbol").await.status, 500);
    function.logged("cannot return a symbol").await;
}

#[tokio::test]
async fn a_hundred_calls_run_at_once() {
    let function = node(
        "
let arrived = 0, open;
const gate = new Promise((resolve) => (open = resolve));
export async function handle(request) {
  if (++arrived === 100) open();
  await gate;
  return request.query.get('n');
}
",
    );
    let calls = (0..100).map(|n| {
        let function = &function;
        async move { (n, function.get(&format!("/?n={n}")).await) }
    });
    for (n, answer) in join_all(calls).await {
        assert_eq!(answer.text(), n.to_string());
    }
}

#[tokio::test]
async fn iterators_and_streams_are_streamed_as_they_go() {
    let function = node(
        "
let open;
const gate = new Promise((resolve) => (open = resolve));
export function handle(request) {
  if (request.path === '/go') { open(); return; }
  if (request.path === '/web') {
    return new Response(new ReadableStream({ start(c) { c.enqueue(new TextEncoder().encode('web')); c.close(); } }));
  }
  if (request.path === '/broken') {
    return (async function* () { yield 'some'; throw new Error('in the middle'); })();
  }
  return (async function* () { yield 'first'; await gate; yield Buffer.from(' second'); })();
}
",
    );
    let request = http::Request::get(function.url("/")).body(Full::<Bytes>::default());
    let response = client()
        .request(request.unwrap())
        .await
        .expect("a response");
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "first");
    assert_eq!(function.get("/go").await.status, 204);
    assert_eq!(body.collect().await.unwrap().to_bytes(), " second");
    assert_eq!(function.get("/web").await.text(), "web");
    let text = rest(function.raw(b"GET /broken HTTP/1.1\r\nhost: x\r\n\r\n"));
    assert!(!text.ends_with("0\r\n\r\n"), "{text}");
}

#[tokio::test]
async fn a_large_answer_waits_for_its_reader_and_holds_up_nobody() {
    let function = node(
        "export const handle = (r) => (r.path === '/large' ? Buffer.alloc(20_000_000, 'x') : 'small');",
    );
    let slow = function.raw(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    for _ in 0..20 {
        assert_eq!(function.get("/").await.text(), "small");
    }
    let large = tokio::task::spawn_blocking(move || rest(slow))
        .await
        .unwrap();
    assert!(large.len() > 20_000_000);
}

#[tokio::test]
async fn all_kinds_of_modules_are_loaded() {
    for (file, source) in [
        ("main.mjs", "export const handle = () => 'hi';"),
        ("main.cjs", "exports.handle = () => 'hi';"),
        ("main.js", "module.exports = { handle: () => 'hi' };"),
        ("main.mjs", "export default { handle: async () => 'hi' };"),
        ("main.mjs", "export default async () => 'hi';"),
        ("main.cjs", "module.exports = () => 'hi';"),
    ] {
        let function = Setup::new("node").file(file, source).start();
        assert_eq!(function.get("/").await.text(), "hi", "{file} {source}");
    }
}

#[test]
fn what_cannot_be_loaded_says_why_and_ends() {
    for (handler, source, expected) in [
        (
            "main.handle",
            "export const a = 1;\nexport function handle( {",
            "\nfermata: the handler cannot be loaded: main.mjs, line 2: SyntaxError: ",
        ),
        (
            "main.handle",
            "export const a = 1;\nthrow new TypeError('bad');",
            "\nfermata: the handler cannot be loaded: main.mjs, line 2: TypeError: bad\n",
        ),
        (
            "main.handle",
            "import 'nothing-of-this-name';",
            "nothing-of-this-name",
        ),
        ("main.other", "export const handle = 1;", "exports no other"),
        (
            "main.handle",
            "export const handle = 1;",
            "is a number and cannot be called",
        ),
        ("app.handle", "", "there is no app.mjs"),
        ("handle", "", "MODULE.FUNCTION"),
    ] {
        let (status, text) = Setup::new("node")
            .file("main.mjs", source)
            .handler(handler)
            .fail();
        assert_eq!(status.code(), Some(1), "{text}");
        assert!(text.contains(expected), "{expected:?} is not in {text}");
    }
}

#[tokio::test]
async fn only_errors_that_are_meant_for_the_caller_tell_their_message() {
    let function = node(
        "
class Upstream extends Error { constructor() { super('key=s3cret refused'); this.status = 404; } }
const made = (properties) => Object.assign(new Error('key=s3cret refused'), properties);
const thrown = {
  upstream: () => new Upstream(),
  code: () => made({ statusCode: 404, status: 404 }),
  hidden: () => made({ status: 404, expose: false }),
  truthy: () => made({ status: 404, expose: 1 }),
  server: () => made({ status: 503, expose: true }),
  text: () => made({ status: '404', expose: true }),
  fraction: () => made({ status: 404.5, expose: true }),
  success: () => made({ status: 200, expose: true }),
  nothing: () => undefined,
  null: () => null,
  string: () => 'key=s3cret refused',
  symbol: () => Symbol('key=s3cret refused'),
  trap: () => new Proxy({}, { get() { throw new Error('key=s3cret refused'); } }),
  exposed: () => made({ status: 418, expose: true, message: 'a teapot' }),
  plain: () => ({ status: 409, expose: true, message: 'a conflict\\nfermata: forged' }),
  own: () => new fermata.HttpError(503, 'not now'),
};
export function handle(request) { throw thrown[request.path.slice(1)](); }
",
    );
    let hidden = [
        "upstream", "code", "hidden", "truthy", "server", "text", "fraction", "success", "nothing",
        "null", "string", "symbol", "trap",
    ];
    for path in hidden {
        let answer = function.get(&format!("/{path}")).await;
        assert_eq!(answer.status, 500, "{path}");
        assert!(!answer.text().contains("s3cret"), "{}", answer.text());
        function
            .logged(&format!("the handler failed on GET /{path}\n"))
            .await;
    }
    for (path, status, detail) in [
        ("exposed", 418, "a teapot"),
        ("plain", 409, "a conflict\nfermata: forged"),
        ("own", 503, "not now"),
    ] {
        let answer = function.get(&format!("/{path}")).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.json()["detail"], detail);
        function
            .logged(&format!("the handler answered GET /{path} with {status}: "))
            .await;
    }
    assert!(!function.log().contains("\nfermata: forged"));
}

#[tokio::test]
async fn a_handler_may_start_threads_and_processes_of_its_own_language() {
    let function = Setup::new("node")
        .file(
            "child.mjs",
            "process.send(2, () => process.exit());",
        )
        .file(
            "thread.mjs",
            "import { parentPort, workerData } from 'node:worker_threads'; parentPort.postMessage(workerData + 1);",
        )
        .file(
            "main.mjs",
            "
import cluster from 'node:cluster';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
async function hear(child) {
  const [answer] = await Promise.race([once(child, 'message'), once(child, 'exit')]);
  return answer;
}
export async function handle(request) {
  switch (request.path) {
    case '/fork': return hear(fork('./child.mjs'));
    case '/cluster':
      cluster.setupPrimary({ exec: './child.mjs' });
      return hear(cluster.fork());
    case '/thread': return (await once(new Worker('./thread.mjs', { workerData: 1 }), 'message'))[0];
    case '/names':
      return [typeof require, typeof exports, typeof __filename, typeof link, typeof send];
  }
}
",
        )
        .start();
    for path in ["/fork", "/cluster", "/thread"] {
        for _ in 0..2 {
            let answer = tokio::time::timeout(Duration::from_secs(20), function.get(path)).await;
            assert_eq!(answer.expect(path).text(), "2", "{path}");
        }
    }
    let names = function.get("/names").await.json();
    assert_eq!(names, json!(vec!["undefined"; 5]));
}

const TYPESCRIPT: &str = "import type { FunctionRequest } from 'fermata';
export function handle(request: FunctionRequest): string { return `hi ${request.path satisfies string}`; }";

#[tokio::test]
async fn typescript_runs_where_node_strips_types_and_the_package_is_named_where_not() {
    let setup = || Setup::new("node").file("main.ts", TYPESCRIPT);
    let strips = std::process::Command::new("node")
        .args(["--print", "Boolean(process.features.typescript)"])
        .output()
        .unwrap();
    if strips.stdout.starts_with(b"true") {
        assert_eq!(setup().start().get("/x").await.text(), "hi /x");
        return;
    }
    let (status, text) = setup().fail();
    assert_eq!(status.code(), Some(1), "{text}");
    let last = text.lines().last().unwrap_or_default();
    assert!(
        last.contains("main.ts is TypeScript") && last.contains("npm install tsx"),
        "{text}"
    );
}

/// What stands for tsx: it has modules in TypeScript loaded without the types that are above, and tells of its own
/// settings.
const LOADER: [(&str, &str); 4] = [
    (
        "package.json",
        r#"{"name": "tsx", "version": "1.0.0", "exports": {"./esm/api": "./esm.mjs", "./cjs/api": "./cjs.cjs"}}"#,
    ),
    (
        "esm.mjs",
        "import { register as add } from 'node:module';
globalThis.kept = process.env.TSX_DISABLE_CACHE !== '1';
export const register = () => add('./hooks.mjs', import.meta.url);",
    ),
    ("cjs.cjs", "exports.register = () => {};"),
    (
        "hooks.mjs",
        "import { readFileSync } from 'node:fs';
export async function load(url, context, next) {
  if (!/[.]m?ts$/.test(url)) return next(url, context);
  const source = readFileSync(new URL(url), 'utf8').replace(/^import type.*$/m, '');
  if (source.includes('broken')) throw new Error(`Transform failed:\n${new URL(url).pathname}:2:1: ERROR: broken`);
  const types = / satisfies string|: (FunctionRequest|string|boolean)/g;
  return { format: 'module', source: source.replace(types, ''), shortCircuit: true };
}",
    ),
];

/// Where packages of a function are.
fn with_loader(setup: Setup) -> Function {
    setup.start_in(write_loader)
}

fn write_loader(dir: &std::path::Path) {
    let package = dir.join("node_modules/tsx");
    std::fs::create_dir_all(&package).unwrap();
    for (name, text) in LOADER {
        std::fs::write(package.join(name), text).unwrap();
    }
}

#[tokio::test]
async fn typescript_runs_with_the_package_tsx_and_javascript_goes_before_it() {
    for file in ["main.ts", "main.mts"] {
        let function = with_loader(Setup::new("node").file(file, TYPESCRIPT));
        assert_eq!(function.get("/x").await.text(), "hi /x", "{file}");
    }
    let settings =
        "export const handle = (): string => `${kept} ${process.env.TSX_DISABLE_CACHE}`;";
    let function = with_loader(Setup::new("node").file("main.ts", settings));
    assert_eq!(function.get("/").await.text(), "false undefined");

    let both = Setup::new("node")
        .file("main.ts", TYPESCRIPT)
        .file("main.js", "exports.handle = () => 'script'");
    assert_eq!(with_loader(both).get("/").await.text(), "script");
}

#[test]
fn typescript_that_cannot_be_read_is_told_in_one_line_with_its_place() {
    let setup = Setup::new("node").file("main.ts", "broken");
    let (status, text) = setup.fail_in(write_loader);
    assert_eq!(status.code(), Some(1), "{text}");
    let last = text.lines().last().unwrap_or_default();
    for part in [
        "fermata: the handler cannot be loaded: main.ts, line 2: ",
        "ERROR: broken",
    ] {
        assert!(last.contains(part), "{text}");
    }
}

/// The package `fermata`, as the tests of a function use it.
#[test]
fn a_node_handler_is_tested_without_a_server() {
    let directory = tempfile::tempdir().unwrap();
    let modules = directory.path().join("node_modules");
    std::fs::create_dir(&modules).unwrap();
    let package = concat!(env!("CARGO_MANIFEST_DIR"), "/../runtimes/node/fermata");
    std::os::unix::fs::symlink(package, modules.join("fermata")).unwrap();
    let source = r#"
import assert from "node:assert";
import { HttpError } from "fermata";
import { Client } from "fermata/testing";

async function handle(request) {
  switch (request.path) {
    case "/told": return { method: request.method, name: request.query.get("name"), host: request.headers.host };
    case "/body": return new Response(JSON.stringify(request.json()), { status: 201, headers: { "x-size": request.headers["content-length"] } });
    case "/error": throw new fermata.HttpError(404, "no such thing");
    case "/broken": throw new TypeError("broken");
    case "/nothing": return;
    case "/stream": return (function* () { yield "a"; yield "b"; })();
  }
}

const client = new Client(handle);
let response = await client.get("/told?name=Ada");
assert.equal(response.headers.get("content-type"), "application/json");
assert.deepEqual(await response.json(), { method: "GET", name: "Ada", host: "localhost" });
response = await client.post("/body", { json: [1, 2] });
assert.deepEqual([response.status, await response.json(), response.headers.get("x-size")], [201, [1, 2], "5"]);
response = await client.delete("/error");
assert.deepEqual([response.status, await response.json()], [404, { status: 404, detail: "no such thing" }]);
assert.equal((await client.post("/body", { body: "{" })).status, 400);
await assert.rejects(client.get("/broken"), TypeError);
assert.equal((await client.put("/nothing")).status, 204);
response = await client.get("/stream");
assert.deepEqual([await response.text(), response.headers.get("content-type")], ["ab", "text/plain; charset=utf-8"]);
assert.equal(fermata.HttpError, HttpError);
"#;
    let script = directory.path().join("test.mjs");
    std::fs::write(&script, source).unwrap();
    let output = std::process::Command::new("node")
        .arg(&script)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}
