//! A registry of packages on this machine.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use fermata_tests::Space;
use k8s_openapi::ByteString;
use serde_json::json;

/// Pages by their path, with their content types. While it is away it answers 503.
pub(super) struct Index {
    pub(super) address: SocketAddr,
    is_away: Arc<AtomicBool>,
}

pub(super) type Pages = BTreeMap<String, (&'static str, Vec<u8>)>;

// === impl Index ===

impl Index {
    /// Starts one where builds of this platform reach it.
    pub(super) async fn start(space: &Space, pages: Pages) -> Self {
        let address = if space.platform.embedded {
            IpAddr::from([127, 0, 0, 1])
        } else {
            space.platform.api_address().await
        };
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let is_away = Arc::new(AtomicBool::new(false));
        let away = Arc::clone(&is_away);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who goes away meanwhile asks again.
                let _ = answer(stream, away.load(Ordering::Relaxed), &pages);
            }
        });
        Self { address, is_away }
    }

    /// Whether it answers 503 from now on.
    pub(super) fn be_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }
}

/// What stands for bytes in a manifest.
pub(super) fn bytes(base64: &str) -> Vec<u8> {
    let ByteString(bytes) = serde_json::from_value(json!(base64)).expect("base64");
    bytes
}

fn answer(mut stream: TcpStream, is_away: bool, pages: &Pages) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let page = first.split(' ').nth(1).and_then(|path| pages.get(path));
    let (status, kind, body) = match page {
        _ if is_away => ("503 Service Unavailable", "text/plain", &[][..]),
        Some((kind, body)) => ("200 OK", *kind, &body[..]),
        None => ("404 Not Found", "text/plain", &[][..]),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}
