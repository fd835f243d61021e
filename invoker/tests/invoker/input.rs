//! Requests as callers may choose them: what a handler cannot read is the caller's fault, a 400.

use hyper::body::Bytes;
use serde_json::json;

use crate::function::{Answer, Function, Setup, rest};

fn python() -> Function {
    let source = "
def handle(request):
    if request.path == '/text': return request.text()
    if request.path == '/json': return {'got': request.json()}
    return {'path': request.path, 'query': request.query, 'raw': request.query_string, 'x': request.headers.get('x')}
";
    Setup::new("python").file("main.py", source).start()
}

fn node() -> Function {
    let source = "
export function handle(request) {
  if (request.path === '/text') return request.text();
  if (request.path === '/json') return { got: request.json() };
  const query = Object.fromEntries(request.query);
  return { path: request.path, query, raw: request.queryString, x: request.headers.x ?? null };
}
";
    Setup::new("node").file("main.mjs", source).start()
}

async fn text(function: &Function, kind: &str, body: impl Into<Bytes>) -> Answer {
    let request = http::Request::post(function.url("/text")).header("content-type", kind);
    function.send(request, body).await
}

#[tokio::test]
async fn a_body_that_is_no_text_in_its_charset_is_a_400() {
    for (function, is_python) in [(python(), true), (node(), false)] {
        for (kind, body, expected) in [
            ("text/plain", "hällo".as_bytes(), "hällo"),
            ("text/plain; charset=UTF-8", "hällo".as_bytes(), "hällo"),
            ("text/plain; charset=\"utf8\"", "hällo".as_bytes(), "hällo"),
            ("text/plain; a=b; Charset=iso-8859-1", b"h\xe4llo", "hällo"),
            ("text/plain; charset=Shift_JIS", b"\x83e", "テ"),
            ("text/plain; charset=koi8-u", b"\xa4", "є"),
            ("text/plain; charset=\"utf-8", b"a", "a"),
            ("text/plain; charset=utf-8; charset=nothing", b"a", "a"),
            ("text/plain; ;;=; charset=utf-8", b"a", "a"),
        ] {
            let answer = text(&function, kind, body).await;
            assert_eq!((answer.status, answer.text()), (200, expected), "{kind}");
        }
        let long = format!("text/plain; charset={}", "x".repeat(10_000));
        for kind in [
            "text/plain; charset=no-such-charset",
            "text/plain; charset=",
            "text/plain; charset",
            "text/plain; charset=\"",
            "text/plain; charset='utf-8'",
            "text/plain; charset=nothing; charset=utf-8",
            "text/plain; charset=utf-8ä",
            "text/plain; charset=ä",
            "text/plain; charset=utf-7",
            "text/plain; charset=idna",
            "text/plain; charset=punycode",
            "text/plain; charset=undefined",
            "text/plain; charset=unicode_escape",
            "text/plain; charset=raw-unicode-escape",
            "text/plain; charset=hex",
            "text/plain; charset=base64",
            "text/plain; charset=zlib",
            "text/plain; charset=rot13",
            "text/plain; charset=mbcs",
            "text/plain; charset=../../main",
            "text/plain; charset=main",
            "text/plain; charset=.",
            long.as_str(),
        ] {
            let answer = text(&function, kind, "+2AA- \\ud800").await;
            assert_eq!(answer.status, 400, "{kind}");
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(
                detail.starts_with("the body") && detail.len() < 200,
                "{detail}"
            );
        }
        for (kind, body) in [
            ("text/plain", &b"\xff"[..]),
            ("text/plain", b"\xed\xa0\x80"),
            ("text/plain; charset=us-ascii", b"\xff"),
            ("text/plain; charset=utf-16", b"\x00\xd8"),
            ("text/plain; charset=shift_jis", b"\x83"),
            ("text/plain; charset=gb18030", b"\xff\xff"),
        ] {
            let answer = text(&function, kind, body).await;
            if kind.contains("ascii") && !is_python {
                // To the web that name is windows-1252, which knows every byte.
                assert_eq!(answer.status, 200);
                continue;
            }
            assert_eq!(answer.status, 400, "{kind} {body:?}");
        }
        assert!(
            !function.log().contains("the handler failed"),
            "{}",
            function.log()
        );
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_is_a_400() {
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let objects = |depth: usize| "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
    for function in [python(), node()] {
        let good = [
            "1".to_owned(),
            "\u{feff}{\"a\": [1, -2.5e-1, null, true, \"\\u00e4\"]}".to_owned(),
            "\"\\ud83d\\ude00\"".to_owned(),
            "\"\\\\ud800\"".to_owned(),
            deep(255),
            objects(255),
            // Brackets in text are no nesting.
            format!("[\"{}\\\"\"]", "[{".repeat(5000)),
            format!("[{}[]]", "[],".repeat(100_000)),
        ];
        for body in good {
            let answer = function.post("/json", body.clone()).await;
            assert_eq!(answer.status, 200, "{}", &body[..body.len().min(50)]);
            let body = body.trim_start_matches('\u{feff}');
            if body.len() < 100 {
                let sent: serde_json::Value = serde_json::de::from_str(body).unwrap();
                assert_eq!(answer.json()["got"], sent);
            }
        }
        let bad: Vec<Bytes> = [
            "",
            " ",
            "{",
            "nul",
            "01",
            "'a'",
            "[1,]",
            "{\"a\":1}}",
            "\"\t\"",
            "]",
            "\"",
            "\"\\",
            "NaN",
            "Infinity",
            "-Infinity",
            "[NaN]",
            "{\"a\": -Infinity}",
            "\"\\ud800\"",
            "\"\\uDC00x\"",
            "{\"\\ud800\": 1}",
            "[[\"\\ude00\\ud83d\"]]",
        ]
        .into_iter()
        .map(Bytes::from)
        .chain([
            Bytes::from_static(b"\xff"),
            Bytes::from_static(b"\"\xed\xa0\x80\""),
            Bytes::from_static(b"\xff\xfe1\0"),
            Bytes::from_static(b"\"\0\""),
            deep(257).into(),
            deep(1000).into(),
            deep(100_000).into(),
            "[".repeat(1_000_000).into(),
            objects(257).into(),
            objects(100_000).into(),
            "{\"a\":".repeat(1_000_000).into(),
        ])
        .collect();
        for body in bad {
            let begin = String::from_utf8_lossy(&body[..body.len().min(30)]).into_owned();
            let answer = function.post("/json", body).await;
            assert_eq!(answer.status, 400, "{begin}");
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.starts_with("the body is not JSON: "), "{detail}");
        }
        assert!(
            !function.log().contains("the handler failed"),
            "{}",
            function.log()
        );
    }
    // What floating point cannot say becomes infinite in Python, and that is no JSON either.
    let function = python();
    for body in [
        "1e999",
        "[-1e999]",
        &"9".repeat(5000),
        &format!("1{}.0", "0".repeat(400)),
    ] {
        assert_eq!(function.post("/json", body.to_owned()).await.status, 400);
    }
    assert_eq!(function.post("/json", "1e-999").await.json()["got"], 0.0);
}

#[tokio::test]
async fn numbers_that_json_does_not_have_are_not_sent() {
    let source = "def handle(request): return {'n': float(request.query['n'])}";
    let function = Setup::new("python").file("main.py", source).start();
    assert_eq!(function.get("/?n=1.5").await.text(), "{\"n\":1.5}");
    for n in ["nan", "inf", "-inf"] {
        assert_eq!(function.get(&format!("/?n={n}")).await.status, 500, "{n}");
    }
    function.logged("not JSON compliant").await;
}

#[tokio::test]
async fn utf_8_in_a_path_or_a_query_is_read_as_such() {
    for function in [python(), node()] {
        let stream = function.raw(
            "GET /ä/%C3%A4?q=grün&e=€&😀=%F0%9F%98%80 HTTP/1.1\r\nhost: x\r\nx: grün\r\nconnection: close\r\n\r\n"
                .as_bytes(),
        );
        let text = tokio::task::spawn_blocking(move || rest(stream))
            .await
            .unwrap();
        let (_, body) = text.split_once("\r\n\r\n").expect("an answer");
        let body: serde_json::Value = serde_json::from_str(body).expect("json");
        assert_eq!(
            body,
            json!({
                "path": "/ä/%C3%A4",
                "raw": "q=grün&e=€&😀=%F0%9F%98%80",
                "query": {"q": "grün", "e": "€", "😀": "😀"},
                // A byte a character, as in WSGI and in Node.js.
                "x": "grÃ¼n",
            })
        );
    }
}

#[tokio::test]
async fn odd_requests_are_never_the_handlers_failure() {
    for function in [python(), node()] {
        for line in [
            &b"GET /?%zz%=%&&&=&;a=%ED%A0%80&%00=%ff HTTP/1.1\r\n"[..],
            b"GET /%00%ff%zz/../..//?? HTTP/1.1\r\n",
            b"GET /?\xc3\xa4 HTTP/1.1\r\n",
            b"GET /?\xff HTTP/1.1\r\n",
            b"GET /\xed\xa0\x80 HTTP/1.1\r\n",
            b"GET /__proto__?__proto__=1&constructor=2 HTTP/1.1\r\n__proto__: 1\r\nconstructor: 2\r\n",
            b"FOO / HTTP/1.1\r\nx: \xff\xfe\x80\r\nx: \xed\xa0\x80\r\n",
            b"GET / HTTP/1.1\r\nx: \xe2\x82\xac\r\ncontent-type: \xff; charset=\xff\r\n",
        ] {
            let request = [line, b"host: x\r\nconnection: close\r\n\r\n"].concat();
            let stream = function.raw(&request);
            let text = tokio::task::spawn_blocking(move || rest(stream)).await.unwrap();
            let status = text.get(9..12).unwrap_or_default();
            assert!(["200", "400"].contains(&status), "{text}");
        }
        assert!(
            !function.log().contains("the handler failed"),
            "{}",
            function.log()
        );
    }
}

#[tokio::test]
async fn heads_of_many_fields_are_read_by_all_runtimes() {
    for setup in [
        Setup::new("python").file(
            "main.py",
            "def handle(request): return str(len(request.headers))",
        ),
        Setup::new("node").file(
            "main.mjs",
            "export const handle = (request) => `${Object.keys(request.headers).length}`;",
        ),
        Setup::new("command").handler("sh -c 'env | grep -c ^HTTP_'"),
    ] {
        let function = setup.start();
        for version in [http::Version::HTTP_11, http::Version::HTTP_2] {
            let mut request = http::Request::get(function.url("/"));
            for n in 0..1500 {
                request = request.header(format!("x-{n}"), "some value of a field");
            }
            let client =
                hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
                    .http2_only(version == http::Version::HTTP_2)
                    .build_http();
            let request = request.body(http_body_util::Empty::<Bytes>::new()).unwrap();
            let response = client.request(request).await.expect("a response");
            assert_eq!(response.status(), 200, "{version:?}");
            let body = http_body_util::BodyExt::collect(response.into_body())
                .await
                .unwrap();
            assert_eq!(
                String::from_utf8_lossy(&body.to_bytes()).trim(),
                "1501",
                "{version:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_head_that_no_program_can_be_given_is_a_431() {
    let function = Setup::new("command").handler("echo hi").start();
    let request = http::Request::get(function.url("/")).header("x-large", "v".repeat(200_000));
    let answer = function.send(request, "").await;
    assert_eq!(answer.status, 431, "{}", answer.text());
    assert_eq!(function.get("/").await.text(), "hi\n");
}

#[tokio::test]
async fn cookies_of_several_fields_are_one_list() {
    for setup in [
        Setup::new("python").file(
            "main.py",
            "def handle(request): return request.headers['Cookie'] + ' ' + request.headers['x']",
        ),
        Setup::new("node").file(
            "main.mjs",
            "export const handle = ({ headers }) => `${headers.cookie} ${headers.x}`;",
        ),
        Setup::new("command").handler("sh -c 'printf %s \"$HTTP_COOKIE $HTTP_X\"'"),
    ] {
        let function = setup.start();
        let request = http::Request::get(function.url("/"))
            .header("cookie", "a=1")
            .header("cookie", "b=2; c=3")
            .header("x", "1")
            .header("x", "2");
        assert_eq!(
            function.send(request, "").await.text(),
            "a=1; b=2; c=3 1, 2"
        );
    }
}
