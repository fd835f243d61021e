//! WSGI and ASGI applications, as frameworks make them.

use std::io::Read as _;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use serde_json::json;

use crate::function::{Function, Setup, client};

fn app(source: &str) -> Function {
    Setup::new("python").file("main.py", source).start()
}

/// An application of each kind that tells what it was given.
const TELLS: [&str; 2] = [
    "
import json
def app(environ, start_response):
    start_response('201 Made', [('content-type', 'application/json'), ('set-cookie', 'a=1'), ('set-cookie', 'b=2')])
    told = {'method': environ['REQUEST_METHOD'], 'root': environ['SCRIPT_NAME'],
        'path': environ['SCRIPT_NAME'] + environ['PATH_INFO'].encode('latin-1').decode(),
        'query': environ['QUERY_STRING'], 'thing': environ['HTTP_X_THING'], 'scheme': environ['wsgi.url_scheme'],
        'server': [environ['SERVER_NAME'], int(environ['SERVER_PORT'])], 'caller': environ['REMOTE_ADDR'],
        'length': int(environ['CONTENT_LENGTH']), 'body': environ['wsgi.input'].read().decode(),
        'forged': 'HTTP_X_FORGED' in environ}
    return [json.dumps(told).encode()]
",
    "
import json
class Application:
    async def __call__(self, scope, receive, send):
        if scope['type'] != 'http': raise NotImplementedError
        headers = {name.decode(): value.decode('latin-1') for name, value in scope['headers']}
        message = await receive()
        told = {'method': scope['method'], 'root': scope['root_path'], 'path': scope['path'],
            'query': scope['query_string'].decode(), 'thing': headers['x-thing'], 'scheme': scope['scheme'],
            'server': scope['server'], 'caller': scope['client'][0],
            'length': int(headers['content-length']), 'body': message['body'].decode(), 'forged': False}
        await send({'type': 'http.response.start', 'status': 201, 'headers': [
            (b'content-type', b'application/json'), (b'set-cookie', b'a=1'), (b'set-cookie', b'b=2')]})
        await send({'type': 'http.response.body', 'body': json.dumps(told).encode()})
application = Application()
",
];

#[tokio::test]
async fn an_application_is_told_all_of_the_request_and_the_path_it_stands_at() {
    for source in TELLS {
        let function = app(source);
        let request = http::Request::post(function.url("/p%20q/%C3%A4?a=1&b"))
            .header("host", "shop.example.com")
            .header("x-thing", "one")
            .header("x_forged", "yes")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-for", "192.0.2.7, 10.0.0.1")
            .header("x-forwarded-prefix", "/function/shop");
        let answer = function.send(request, "hällo").await;
        assert_eq!((answer.status, answer.kind()), (201, "application/json"));
        assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
        assert_eq!(
            answer.json(),
            json!({"method": "POST", "root": "/function/shop", "path": "/function/shop/p q/ä",
                "query": "a=1&b", "thing": "one", "scheme": "https",
                "server": ["shop.example.com", 443], "caller": "192.0.2.7", "length": 6,
                "body": "hällo", "forged": false}),
            "{source}"
        );
    }
}

#[tokio::test]
async fn what_callers_choose_to_send_fails_no_application() {
    for source in TELLS {
        let function = app(source);
        for host in [
            &b"a:\xb2"[..],
            b"a:",
            b":80",
            b"[::1]",
            b"a:99999999999999999999",
        ] {
            let request = http::Request::get(function.url("/%00?%ff"))
                .header("host", http::HeaderValue::from_bytes(host).unwrap())
                .header("x-thing", "one")
                .header("x-forwarded-for", "1.2.3.4")
                .header("content-length", "0");
            let answer = function.send(request, "").await;
            assert_eq!(answer.status, 201, "{host:?}: {}", function.log());
        }
    }
}

#[tokio::test]
async fn answers_come_piece_by_piece_and_what_they_read_is_closed() {
    for source in [
        "
class Body:
    def __iter__(self):
        yield b'one'
        held.acquire()
        yield b'two'
    def close(self): print('closed')
import threading
held = threading.Semaphore(0)
def app(environ, start_response):
    if environ['PATH_INFO'] == '/go':
        held.release()
        start_response('204 No Content', [])
        return []
    start_response('200 OK', [('content-type', 'text/plain')])
    return Body()
",
        "
import asyncio
held = asyncio.Event()
async def app(scope, receive, send):
    if scope['type'] == 'lifespan': return
    if scope['path'] == '/go':
        held.set()
        await send({'type': 'http.response.start', 'status': 204})
        await send({'type': 'http.response.body'})
        return
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'text/plain')]})
    await send({'type': 'http.response.body', 'body': b'one', 'more_body': True})
    await held.wait()
    await send({'type': 'http.response.body', 'body': b'two'})
    print('closed')
",
    ] {
        let function = app(source);
        let request = http::Request::get(function.url("/")).body(Full::<Bytes>::default());
        let response = client().request(request.unwrap()).await.unwrap();
        let mut body = response.into_body();
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "one");
        assert_eq!(function.get("/go").await.status, 204);
        let rest = body.collect().await.unwrap().to_bytes();
        assert_eq!(rest, "two");
        function.logged("closed").await;
    }
}

#[tokio::test]
async fn what_fails_in_an_application_is_a_500_and_told_in_the_log() {
    for source in [
        "
def app(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/raise': raise ValueError('s3cret')
    if path == '/silent': return [b'x']
    start_response('200 OK', [('x', 'a\\0b' if path == '/field' else 'fine')])
    return [b'fine']
",
        "
async def app(scope, receive, send):
    if scope['type'] == 'lifespan': raise NotImplementedError
    path = scope['path']
    if path == '/raise': raise ValueError('s3cret')
    if path == '/silent': return
    value = b'a\\0b' if path == '/field' else b'fine'
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'x', value)]})
    await send({'type': 'http.response.body', 'body': b'fine'})
",
    ] {
        let function = app(source);
        for path in ["/raise", "/silent", "/field"] {
            let answer = function.get(path).await;
            assert_eq!(answer.status, 500, "{path}");
            assert!(!answer.text().contains("s3cret"), "{}", answer.text());
            let told = format!("the handler failed on GET {path}\n");
            function.logged(&told).await;
            assert_eq!(function.get("/").await.text(), "fine", "{path}");
        }
        function.logged("ValueError: s3cret").await;
    }
}

#[tokio::test]
async fn an_asgi_application_lives_from_before_the_first_call_to_after_the_last() {
    let mut function = app("
async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        assert (await receive())['type'] == 'lifespan.startup'
        scope['state']['name'] = 'Ada'
        await send({'type': 'lifespan.startup.complete'})
        assert (await receive())['type'] == 'lifespan.shutdown'
        print('good bye')
        await send({'type': 'lifespan.shutdown.complete'})
        return
    await send({'type': 'http.response.start', 'status': 200})
    await send({'type': 'http.response.body', 'body': scope['state']['name'].encode()})
");
    assert_eq!(function.get("/").await.text(), "Ada");
    function.signal(rustix::process::Signal::TERM);
    assert!(function.ended().await.success(), "{}", function.log());
    function.logged("good bye").await;

    let (status, text) = Setup::new("python")
        .file(
            "main.py",
            "
async def app(scope, receive, send):
    await receive()
    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})
",
        )
        .fail();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(
        text.contains("the application does not start: no database"),
        "{text}"
    );
}

#[tokio::test]
async fn an_application_whose_caller_goes_hears_of_it() {
    let function = app("
import asyncio
async def app(scope, receive, send):
    if scope['type'] == 'lifespan': return
    await send({'type': 'http.response.start', 'status': 200})
    try:
        for _ in range(100000):
            await send({'type': 'http.response.body', 'body': b'.' * 65536, 'more_body': True})
    except asyncio.CancelledError:
        print('gone')
        raise
");
    let mut stream = function.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    // Who goes before that may never have been heard of.
    stream.read_exact(&mut [0; 1024]).unwrap();
    drop(stream);
    function.logged("gone").await;
}
