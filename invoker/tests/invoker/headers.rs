//! Header fields, statuses and bodies that cannot be sent as a handler gave them.

use serde_json::{Value, json};

use crate::function::{Function, Setup};

/// A handler that answers with what the request's body says: a status and header fields.
fn python() -> Function {
    let source = "
import json
from http import HTTPStatus
def handle(request):
    wanted = json.loads(request.body)
    status = wanted.get('status', 200)
    body = iter(['x', 'y']) if request.path == '/stream' else 'body'
    return body, HTTPStatus[status] if isinstance(status, str) else status, wanted.get('headers', [])
";
    Setup::new("python").file("main.py", source).start()
}

/// The same; a Response of the web checks some of it itself, so that this one is bent.
fn node() -> Function {
    let source = "
export function handle(request) {
  const { status = 200, headers = [] } = JSON.parse(request.body);
  const body = request.path === '/stream' ? new Blob(['xy']).stream() : 'body';
  const response = new Response(body);
  Object.defineProperty(response, 'status', { value: status });
  Object.defineProperty(response, 'headers', { value: headers });
  return response;
}
";
    Setup::new("node").file("main.mjs", source).start()
}

#[tokio::test]
async fn header_fields_that_cannot_be_sent_are_a_500_and_named_in_the_log() {
    for function in [python(), node()] {
        let mut cases: Vec<(Value, &str, &str)> = vec![
            (json!("a b"), "v", "no name of a header field"),
            (json!(""), "v", "no name of a header field"),
            (json!("a:b"), "v", "no name of a header field"),
            (json!("a\r\nb"), "v", "no name of a header field"),
            (json!("a\0b"), "v", "no name of a header field"),
            (json!("ä"), "v", "no name of a header field"),
            (json!("x-euro"), "1 €", "with a character beyond Latin-1"),
            // Their low bytes are NUL and a line feed.
            (
                json!("x-zero"),
                "sec\u{100}ret",
                "with a character beyond Latin-1",
            ),
            (
                json!("x-line"),
                "sec\u{10a}ret",
                "with a character beyond Latin-1",
            ),
        ];
        let controls: Vec<String> = (0..=8)
            .chain(10..32)
            .chain([127])
            .map(|code| format!("/sec{}ret", char::from(code)))
            .collect();
        for value in &controls {
            cases.push((json!("Location"), value, "with a control character"));
        }
        let cookie = "/home\0Set-Cookie\0session=stolen";
        cases.push((json!("location"), cookie, "with a control character"));
        for path in ["/whole", "/stream"] {
            for (name, value, reason) in &cases {
                let lines = function.log().lines().count();
                let wanted = json!({"headers": [["x-good", "1"], [name, value]]});
                let answer = function.post(path, wanted.to_string()).await;
                assert_eq!(answer.status, 500, "{wanted}");
                for name in ["x-good", "set-cookie", "location"] {
                    assert!(!answer.headers.contains_key(name), "{wanted}");
                }
                crate::function::eventually("in the log", || {
                    let log = function.log();
                    let new: Vec<&str> = log.lines().skip(lines).collect();
                    new.iter()
                        .any(|line| line.contains(reason) && names(line, name))
                })
                .await;
            }
        }
        let log = function.log();
        assert!(!log.contains("sec") && !log.contains("stolen"), "{log}");
        // All that is allowed comes as it was.
        let value = "\t\u{80}\u{ff} !~ä";
        let wanted = json!({"headers": [["X-!#$%&'*+-.^_`|~9", value], ["a", ""]]});
        let answer = function.post("/", wanted.to_string()).await;
        let sent: Vec<u8> = value
            .trim()
            .chars()
            .map(|character| character as u8)
            .collect();
        assert_eq!(answer.headers["x-!#$%&'*+-.^_`|~9"].as_bytes(), sent);
        assert_eq!(answer.headers["a"], "");
    }
}

/// Whether the line names the field; a name that is none is told with its odd characters escaped.
fn names(line: &str, name: &Value) -> bool {
    let name = name.as_str().unwrap();
    let begin: String = name
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    line.to_lowercase().contains(&begin.to_lowercase())
}

#[tokio::test]
async fn header_fields_beyond_bounds_fail_their_call_and_no_other() {
    for function in [python(), node()] {
        let large = "v".repeat(1024 * 1024);
        let many: Vec<_> = (0..40_000).map(|n| json!([format!("x{n}"), ""])).collect();
        let some: Vec<_> = (0..1000).map(|n| json!([format!("x{n}"), "1"])).collect();
        for (headers, status) in [
            (json!([["x-large", large]]), 500),
            (json!([["x-large", "v".repeat(32_760)]]), 500),
            (json!([["x-large", "v".repeat(32_600)]]), 200),
            (json!([[large, "v"]]), 500),
            (json!(many), 500),
            (json!(some), 200),
        ] {
            for path in ["/whole", "/stream"] {
                let wanted = json!({ "headers": headers }).to_string();
                // hyper's client takes no more than a hundred fields.
                let request = format!(
                    "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{wanted}",
                    wanted.len()
                );
                let stream = function.raw(request.as_bytes());
                let text = tokio::task::spawn_blocking(move || crate::function::rest(stream));
                let text = text.await.unwrap();
                let expected = format!("HTTP/1.1 {status}");
                assert!(text.starts_with(&expected), "{path} {}", &text[..100]);
            }
        }
        function.logged("bytes, more than 32768").await;
        let log = function.log();
        assert!(log.lines().all(|line| line.len() < 1000), "{log}");
    }
}

#[tokio::test]
async fn statuses_that_are_none_are_a_500_and_told_in_the_log() {
    for function in [python(), node()] {
        for status in [
            json!(0),
            json!(99),
            json!(100),
            json!(101),
            json!(199),
            json!(600),
            json!(1200),
            json!(-1),
            json!(200.5),
        ] {
            for path in ["/whole", "/stream"] {
                let wanted = json!({ "status": status }).to_string();
                let answer = function.post(path, wanted).await;
                assert_eq!(answer.status, 500, "{status}");
            }
            let told = format!("{status}");
            crate::function::eventually("in the log", || {
                let log = function.log();
                log.lines()
                    .any(|line| line.contains(&told) && line.contains("status between 200 and 599"))
            })
            .await;
        }
    }
    let function = python();
    let answer = function
        .post("/", json!({"status": "NOT_FOUND"}).to_string())
        .await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn an_answer_without_content_has_none() {
    for function in [python(), node()] {
        for status in [204, 205, 304] {
            for path in ["/whole", "/stream"] {
                let wanted = json!({ "status": status }).to_string();
                let answer = function.post(path, wanted).await;
                assert_eq!((answer.status, answer.text()), (status, ""));
            }
        }
        let answer = function.post("/", json!({}).to_string()).await;
        assert_eq!(answer.text(), "body");
    }
}

#[tokio::test]
async fn an_error_text_of_any_size_is_told_without_harm() {
    for function in [
        Setup::new("python")
            .file("main.py", "import fermata\ndef handle(r):\n    raise fermata.HTTPError(400, 'ä' * 2_000_000 if r.path == '/' else '\\0\\r\\n\\ud800')")
            .start(),
        Setup::new("node")
            .file("main.mjs", "export function handle(r) { throw new fermata.HttpError(400, r.path === '/' ? 'ä'.repeat(2_000_000) : '\\0\\r\\n\\ud800'); }")
            .start(),
    ] {
        for (path, begin) in [("/", "ää"), ("/odd", "\0\r\n")] {
            let answer = function.get(path).await;
            assert_eq!(answer.status, 400);
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.starts_with(begin) && detail.chars().count() <= 8192, "{detail}");
        }
    }
}
