//! The packages `fermata` of Python and Node.js, as the tests of a function use them.

use std::{path::PathBuf, process::Command};

fn runtimes() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../runtimes")
}

#[test]
fn a_python_handler_is_tested_without_a_server() {
    let source = r#"
import asyncio
from fermata import HTTPError, Response
from fermata.testing import Client

def handle(request):
    match request.path:
        case "/told": return {"method": request.method, "name": request.query["name"], "host": request.headers["Host"]}
        case "/body": return request.json(), 201, {"X-Size": request.headers["content-length"]}
        case "/error": raise HTTPError(404, "no such thing")
        case "/broken": raise KeyError("broken")
        case "/nothing": return None
        case "/stream": return (piece for piece in ("a", "b"))
        case "/response": return Response(b"x", headers=[("a", "1"), ("a", "2")])

client = Client(handle)
answer = client.get("/told?name=Ada")
assert (answer.status, answer.headers["content-type"]) == (200, "application/json"), answer
assert answer.json() == {"method": "GET", "name": "Ada", "host": "localhost"}, answer
answer = client.post("/body", json=[1, 2])
assert (answer.status, answer.json(), answer.headers["x-size"]) == (201, [1, 2], "6"), answer
answer = client.delete("/error")
assert (answer.status, answer.json()) == (404, {"status": 404, "detail": "no such thing"}), answer
assert client.post("/body", body="{").status == 400
try:
    client.get("/broken")
except KeyError:
    pass
else:
    raise AssertionError("the error of the handler is hidden")
assert (client.put("/nothing").status, client.put("/nothing").body) == (204, b"")
assert client.get("/stream").text() == "ab"
assert client.get("/response").headers.get_all("a") == ["1", "2"]

async def coroutine(request):
    await asyncio.sleep(0)
    return "later"

async def pieces(request):
    yield b"a"
    yield b"b"

assert Client(coroutine).get().text() == "later"
assert Client(pieces).get().headers["content-type"] == "application/octet-stream"
"#;
    let output = Command::new("python3")
        .args(["-B", "-c", source])
        .env("PYTHONPATH", runtimes().join("python"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_node_handler_is_tested_without_a_server() {
    let directory = tempfile::tempdir().unwrap();
    let modules = directory.path().join("node_modules");
    std::fs::create_dir(&modules).unwrap();
    std::os::unix::fs::symlink(runtimes().join("node/fermata"), modules.join("fermata")).unwrap();
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
    let output = Command::new("node").arg(&script).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
