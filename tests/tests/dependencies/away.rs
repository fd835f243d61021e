//! A registry that is away for a while.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use fermata_tests::{Space, eventually, wheel};
use k8s_openapi::ByteString;
use serde_json::json;

use super::{HANDLER, function};

const FILE: &str = "greeting-1.0-py3-none-any.whl";

/// An index of Python packages with one of them, which answers 503 until it is told otherwise.
struct Index {
    address: SocketAddr,
    is_back: Arc<AtomicBool>,
}

// === impl Index ===

impl Index {
    fn start(address: IpAddr) -> Self {
        let package = wheel("greeting", "1.0", "WORDS = 'back again'\n");
        let ByteString(package) = serde_json::from_value(json!(package)).expect("base64");
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let is_back = Arc::new(AtomicBool::new(false));
        let known = Arc::clone(&is_back);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who goes away meanwhile asks again.
                let _ = answer(stream, known.load(Ordering::Relaxed), &package);
            }
        });
        Self { address, is_back }
    }
}

fn answer(mut stream: TcpStream, is_back: bool, package: &[u8]) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let page = format!("<html><body><a href=\"/{FILE}\">{FILE}</a></body></html>");
    let (status, kind, body) = if !is_back {
        ("503 Service Unavailable", "text/plain", &b""[..])
    } else if first.contains(FILE) {
        ("200 OK", "application/octet-stream", package)
    } else {
        ("200 OK", "text/html", page.as_bytes())
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}

#[tokio::test]
async fn a_registry_that_comes_back_is_asked_again() {
    let space = Space::new().await;
    let address = if space.platform.embedded {
        IpAddr::from([127, 0, 0, 1])
    } else {
        space.platform.api_address().await
    };
    let index = Index::start(address);
    let requirements = format!(
        "--index-url http://{}/simple\n--trusted-host {address}\ngreeting==1.0\n",
        index.address
    );
    let source = json!({
        "runtime": "python",
        "build": {"env": [{"name": "PIP_RETRIES", "value": "0"}]},
        "files": {"main.py": HANDLER, "requirements.txt": requirements},
    });
    function(&space, "hello", source).await;
    eventually("the registry is missed", async || {
        let status = space.get("hello").await.status.unwrap_or_default();
        let mut conditions = status.conditions.iter();
        match conditions.find(|condition| condition.type_ == "Built") {
            Some(built) if built.reason == "RegistryUnreachable" => {
                assert_eq!(built.status, "Unknown");
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    index.is_back.store(true, Ordering::Relaxed);
    space.answers("hello", "back again").await;
    space.ready("hello").await;
}
