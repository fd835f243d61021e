//! What leaves the gateway is what came, once.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex},
    time::Duration,
};

use fermata_crds::sample::{Choices, chosen_by, pick};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::{Builder, Runtime},
};

use crate::support::{FunctionSpec, Harness, full, respond_with};

/// How long the answers may take, to all of a connection's requests.
const PATIENCE: Duration = Duration::from_secs(20);

/// What names a request, at the function and in its answer.
const NUMBER: &str = "x-number";

/// The gateway that all inputs go through.
static GATEWAY: LazyLock<(Runtime, Harness)> = LazyLock::new(|| {
    // One thread: others of these tests run meanwhile, and some of them mind the time.
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let harness = runtime.block_on(async {
        let function = FunctionSpec::warm("f", respond_with(|request, _| note(request)));
        Harness::with(&[function]).await
    });
    (runtime, harness)
});

/// What the function was asked, by number.
static SEEN: LazyLock<Mutex<HashMap<String, Vec<Asked>>>> = LazyLock::new(Mutex::default);

/// A request, as it was sent or as it came.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    method: String,
    target: String,
    /// The fields that are the function's business.
    fields: Vec<(String, Vec<u8>)>,
    /// `None` if it broke off.
    body: Option<Vec<u8>>,
}

/// A request as bytes, and what is to be seen of it.
struct Sent {
    number: String,
    bytes: Vec<u8>,
    asked: Asked,
}

/// The function: notes what it is asked, and says which it was.
async fn note(request: Request<Incoming>) -> Response<crate::support::Body> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.ok();
    let number = text(&parts.headers, NUMBER);
    let mut fields: Vec<_> = parts
        .headers
        .iter()
        .filter(|(name, _)| OWN.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    fields.sort();
    let asked = Asked {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        fields,
        body: body.map(|body| body.to_bytes().to_vec()),
    };
    let mut seen = SEEN.lock().unwrap();
    seen.entry(number.clone()).or_default().push(asked);
    Response::builder()
        .header(NUMBER, number)
        .body(full(""))
        .unwrap()
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// Fields of which the gateway changes nothing.
const OWN: [&str; 6] = ["x-a", "x-b", "x_c", "accept", "authorization", "cookie"];

/// One more request, good in every way that RFC 9112 has.
fn request(number: &str, choose: Choices<'_>) -> Sent {
    let method = pick(
        &["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "ODD"],
        choose,
    );
    let target = pick(
        &[
            "/",
            "/a/b?c=d&e",
            "/%20%00",
            "//x",
            "/..;/a",
            "/?",
            "/a?b?c",
        ],
        choose,
    );
    let prefix = pick(&["", "http://f.default.localhost"], choose);
    let mut bytes = format!("{method} {prefix}{target} HTTP/1.1\r\n").into_bytes();
    let host = pick(&["host", "Host", "HOST"], choose);
    bytes.extend(format!("{host}: f.default.localhost\r\n{NUMBER}: {number}\r\n").bytes());
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    for _ in 0..choose(5) {
        // Cookies are one list however they come.
        let name = pick(&OWN[..OWN.len() - 1], choose);
        let value = pick(&[&b"1"[..], b"a, b", b"", b"\xe4\xff", b"a  b"], choose);
        let blank = pick(&["", " ", "\t "], choose);
        bytes.extend(format!("{name}:{blank}").bytes());
        bytes.extend(value);
        bytes.extend(format!("{blank}\r\n").bytes());
        fields.push((name.to_owned(), value.to_vec()));
    }
    match choose(5) {
        0 => {
            bytes.extend(b"connection: keep-alive, X-A\r\nkeep-alive: timeout=5\r\n");
            fields.retain(|(name, _)| name != "x-a");
        }
        1 => bytes.extend(b"TE: trailers\r\nConnection: TE\r\n"),
        _ => {}
    }
    fields.sort();
    let length = pick(&[0, 1, 7, 300, 5000, 70_000], choose);
    let body: Vec<u8> = (0..length).map(|at| b"\r\n0GETx"[at % 7]).collect();
    let body = match choose(3) {
        0 => Vec::new(),
        1 => {
            bytes.extend(format!("content-length: {length}\r\n\r\n").bytes());
            bytes.extend(&body);
            body
        }
        _ => {
            bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
            chunks(&body, &mut bytes, choose);
            body
        }
    };
    if body.is_empty() && !bytes.ends_with(b"\r\n\r\n") {
        bytes.extend(b"\r\n");
    }
    Sent {
        number: number.to_owned(),
        bytes,
        asked: Asked {
            method: method.to_owned(),
            target: target.to_owned(),
            fields,
            body: Some(body),
        },
    }
}

fn chunks(body: &[u8], bytes: &mut Vec<u8>, choose: Choices<'_>) {
    let mut rest = body;
    while !rest.is_empty() {
        let size = pick(&[1, 2, 15, 16, 4096, 100_000], choose).min(rest.len());
        // Not more chunks of one byte than a test has time for.
        let size = size.max(body.len() / 50).min(rest.len());
        let (chunk, after) = rest.split_at(size);
        let written = match choose(4) {
            0 => format!("{size:X}\r\n"),
            1 => format!("00{size:x}\r\n"),
            2 => format!("{size:x};name=\"value\"\r\n"),
            _ => format!("{size:x}\r\n"),
        };
        bytes.extend(written.bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
        rest = after;
    }
    let end: &[u8] = pick(&[&b"0\r\n\r\n"[..], b"000\r\nx-trailer: y\r\n\r\n"], choose);
    bytes.extend(end);
}

/// Sends the bytes in parts, and reads until so many answers are there or the connection ends: the
/// numbers in them.
async fn answers(bytes: &[u8], part: usize, count: usize) -> Vec<String> {
    let mut stream = TcpStream::connect(GATEWAY.1.data).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut reading, mut writing) = stream.split();
    let write = async {
        for part in bytes.chunks(part) {
            if writing.write_all(part).await.is_err() {
                // Sent away; what it was told is read.
                break;
            }
        }
    };
    let read = async {
        let mut got = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        while got.windows(4).filter(|end| end == b"\r\n\r\n").count() < count {
            match reading.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(size) => got.extend_from_slice(&buffer[..size]),
            }
        }
        got
    };
    let both = async { tokio::join!(write, read).1 };
    let got = tokio::time::timeout(PATIENCE, both).await.unwrap();
    String::from_utf8_lossy(&got)
        .lines()
        .filter_map(|line| line.strip_prefix("x-number: "))
        .map(|number| number.trim().to_owned())
        .collect()
}

/// Numbers that no other input has.
fn numbers() -> impl Iterator<Item = String> {
    static INPUTS: Mutex<u64> = Mutex::new(0);
    let mut inputs = INPUTS.lock().unwrap();
    *inputs += 1;
    let input = *inputs;
    (1..).map(move |number| format!("{input}-{number}"))
}

/// What the function has seen of a number, which is forgotten.
fn seen(number: &str) -> Vec<Asked> {
    SEEN.lock().unwrap().remove(number).unwrap_or_default()
}

#[test]
fn fuzz_each_request_leaves_as_it_came_and_once() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let count = 1 + choose(5);
        let sent: Vec<Sent> = numbers()
            .take(count)
            .map(|number| request(&number, &mut choose))
            .collect();
        let bytes: Vec<u8> = sent.iter().flat_map(|one| one.bytes.clone()).collect();
        let part = pick(&[usize::MAX, 1460, 333], &mut choose);
        let answered = GATEWAY.0.block_on(answers(&bytes, part, count));
        let expected: Vec<_> = sent.iter().map(|one| one.number.clone()).collect();
        assert_eq!(answered, expected, "{}", bytes.escape_ascii());
        for one in sent {
            assert_eq!(
                seen(&one.number),
                [one.asked],
                "{}",
                one.bytes.escape_ascii()
            );
        }
    });
}

#[test]
fn fuzz_nothing_leaves_that_did_not_come() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let count = 1 + choose(4);
        let sent: Vec<Sent> = numbers()
            .take(count)
            .map(|number| request(&number, &mut choose))
            .collect();
        let mut bytes: Vec<u8> = sent.iter().flat_map(|one| one.bytes.clone()).collect();
        // A few bytes are others, more or fewer; and nothing comes after them.
        for _ in 0..=choose(3) {
            let at = choose(bytes.len().min(60_000));
            let odd = pick(b"\r\n \t:;,0x\0\xff-", &mut choose);
            match choose(3) {
                0 => bytes[at] = odd,
                1 => bytes.insert(at, odd),
                _ => drop(bytes.remove(at)),
            }
        }
        let spoilt = bytes.clone();
        GATEWAY.0.block_on(async {
            let mut stream = TcpStream::connect(GATEWAY.1.data).await.unwrap();
            let (mut reading, mut writing) = stream.split();
            let write = async {
                let _ = writing.write_all(&bytes).await;
                let _ = writing.shutdown().await;
            };
            let mut got = Vec::new();
            let both = async { tokio::join!(write, reading.read_to_end(&mut got)) };
            let _ = tokio::time::timeout(PATIENCE, both).await.unwrap();
        });
        for one in sent {
            let seen = seen(&one.number);
            assert!(seen.len() <= 1, "{seen:?} of {}", spoilt.escape_ascii());
        }
    });
}
