//! The other gateways, and what they report.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use fermata_watch::Waits;
use futures::{StreamExt, future::join_all};
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tokio::{net::TcpStream, time::Instant};
use tokio_util::sync::CancellationToken;

use super::stats::Report;
use crate::sync::lock;

/// How long one gateway may take to report.
const ASK_TIMEOUT: Duration = Duration::from_millis(800);

/// How long a gateway that does not answer is believed to have requests under way.
const MOURN: Duration = Duration::from_secs(30);

/// The largest report that is read: a hundred bytes for each of a hundred thousand revisions.
const LARGEST_REPORT: usize = 16 * 1024 * 1024;

/// The other gateways.
#[derive(Clone, Debug, Default)]
pub struct Peers(Arc<Mutex<BTreeMap<String, Peer>>>);

#[derive(Clone, Debug)]
struct Peer {
    address: SocketAddr,
    /// Since when it has not answered.
    silent_since: Option<Instant>,
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

// === impl Peers ===

impl Peers {
    /// Keeps the list of the others up to date until told to stop. All have the same admin port.
    pub async fn watch(
        self,
        client: Client,
        namespace: String,
        selector: String,
        own_name: String,
        admin_port: u16,
        stop: CancellationToken,
    ) {
        let pods: Api<Pod> = Api::namespaced(client, &namespace);
        let config = watcher::Config::default().labels(&selector);
        let events = watcher(pods, config).backoff(Waits::default());
        let mut events = std::pin::pin!(events.take_until(stop.cancelled()));
        let mut listed = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(pod)) => {
                    listed.push(pod.name_any());
                    self.apply(&pod, &own_name, admin_port);
                }
                Ok(watcher::Event::InitDone) => {
                    lock(&self.0).retain(|name, _| listed.contains(name));
                }
                Ok(watcher::Event::Apply(pod)) => self.apply(&pod, &own_name, admin_port),
                Ok(watcher::Event::Delete(pod)) => {
                    lock(&self.0).remove(&pod.name_any());
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "watch of the other gateways failed; beginning again");
                }
            }
        }
    }

    fn apply(&self, pod: &Pod, own_name: &str, admin_port: u16) {
        let name = pod.name_any();
        if name == own_name {
            return;
        }
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        let address = status
            .and_then(|status| status.pod_ip.as_deref())
            .and_then(|ip| ip.parse::<IpAddr>().ok())
            .filter(|_| !matches!(phase, Some("Failed" | "Succeeded")))
            .map(|ip| SocketAddr::new(ip, admin_port));
        let mut peers = lock(&self.0);
        match address {
            None => {
                peers.remove(&name);
            }
            // A gateway that is being deleted still has requests under way.
            Some(address) => {
                let peer = peers.entry(name).or_insert(Peer {
                    address,
                    silent_since: None,
                });
                peer.address = address;
            }
        }
    }

    /// Asks all of them at once.
    pub async fn ask(&self) -> Answers {
        let peers: Vec<(String, SocketAddr)> = lock(&self.0)
            .iter()
            .map(|(name, peer)| (name.clone(), peer.address))
            .collect();
        let answers = join_all(peers.iter().map(|(_, address)| ask(*address))).await;
        let mut result = Answers {
            reports: Vec::new(),
            complete: true,
        };
        let mut known = lock(&self.0);
        for ((name, _), answer) in peers.iter().zip(answers) {
            let Some(peer) = known.get_mut(name) else {
                continue;
            };
            match answer {
                Ok(report) => {
                    peer.silent_since = None;
                    result.reports.push(report);
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(peer = name, error, "no report from a gateway");
                    let since = *peer.silent_since.get_or_insert_with(Instant::now);
                    result.complete &= since.elapsed() > MOURN;
                }
            }
        }
        result
    }
}

async fn ask(address: SocketAddr) -> Result<Report, AskError> {
    let report = tokio::time::timeout(ASK_TIMEOUT, fetch(address)).await;
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
