//! What the other gateways report.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};

use super::stats::Report;
use crate::state::peers::Peers;

/// How long one gateway may take to report.
const ASK_TIMEOUT: Duration = Duration::from_millis(800);

/// How long a gateway that does not answer is believed to have requests under way.
const MOURN: Duration = Duration::from_secs(30);

/// The largest report that is read: a hundred bytes for each of a hundred thousand revisions.
const LARGEST_REPORT: usize = 16 * 1024 * 1024;

/// Asks the other gateways.
#[derive(Debug)]
pub struct Questioner {
    peers: Arc<Peers>,
    /// Where all of them report.
    port: u16,
    /// Since when some of them have not answered.
    silent: BTreeMap<Box<str>, Instant>,
}

/// What the others said.
#[derive(Debug, Default)]
pub struct Answers {
    /// The reports that came.
    pub reports: Vec<Report>,
    /// Whether everybody answered who may have requests under way.
    pub complete: bool,
}

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("the peer cannot be reached")]
    Connect(#[from] std::io::Error),
    #[error("the peer did not answer")]
    Http(#[from] hyper::Error),
    #[error("the question cannot be put")]
    Request(#[from] http::Error),
    #[error("the peer answered with status {0}")]
    Status(http::StatusCode),
    #[error("the peer's report broke off or is too large")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the peer's report cannot be read")]
    Report(#[from] serde_json::Error),
}

// === impl Questioner ===

impl Questioner {
    /// Asks these gateways, all of which report on the same port.
    #[must_use]
    pub fn new(peers: Arc<Peers>, port: u16) -> Self {
        Self {
            peers,
            port,
            silent: BTreeMap::new(),
        }
    }

    /// Asks all of them at once.
    pub async fn ask(&mut self) -> Answers {
        let others = self.peers.others();
        let answers = join_all(others.iter().map(|(_, ip)| ask(*ip, self.port))).await;
        let mut result = Answers {
            reports: Vec::new(),
            complete: true,
        };
        self.silent
            .retain(|name, _| others.iter().any(|(other, _)| other == name));
        for ((name, _), answer) in others.into_iter().zip(answers) {
            match answer {
                Ok(report) => {
                    self.silent.remove(&name);
                    result.reports.push(report);
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(peer = &*name, error, "no report from a gateway");
                    let since = self.silent.entry(name).or_insert_with(Instant::now);
                    result.complete &= since.elapsed() > MOURN;
                }
            }
        }
        result
    }
}

async fn ask(ip: IpAddr, port: u16) -> Result<Report, AskError> {
    let report = tokio::time::timeout(ASK_TIMEOUT, fetch(SocketAddr::new(ip, port))).await;
    report.unwrap_or_else(|_elapsed| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}

async fn fetch(address: SocketAddr) -> Result<Report, AskError> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/stats")
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        if !response.status().is_success() {
            return Err(AskError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), LARGEST_REPORT).collect();
        let body = body.await.map_err(AskError::Body)?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    };
    // The connection ends after the answer; until then it has to be driven.
    let (answer, _ended) = tokio::join!(answer, connection);
    answer
}
