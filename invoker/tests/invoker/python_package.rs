//! The package `fermata` of Python, as the tests of a function use it.

use std::process::Command;

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
        .env(
            "PYTHONPATH",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../runtimes/python"),
        )
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}
