//! What the other gateways report.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use futures::future::join_all;
use http::Method;
use tokio::time::Instant;

use super::stats::Report;
use crate::cluster::{peer_client::ask_peer, peers::Peers};

/// How long one gateway may take to report.
const ASK_TIMEOUT: Duration = Duration::from_millis(800);

/// How long a gateway that does not answer is believed to have requests under way.
const SILENT_PEER_TTL: Duration = Duration::from_secs(30);

/// Asks the other gateways.
#[derive(Debug)]
pub(crate) struct StatsClient {
    peers: Arc<Peers>,
    /// Where all of them report.
    port: u16,
    /// Since when some of them have not answered.
    silent: BTreeMap<Box<str>, Instant>,
}

/// What the others said.
#[derive(Debug, Default)]
pub(crate) struct GatheredStats {
    /// The reports that came.
    pub(crate) reports: Vec<Report>,
    /// Whether everybody answered who may have requests under way.
    pub(crate) complete: bool,
}

// === impl StatsClient ===

impl StatsClient {
    /// Asks these gateways, all of which report on the same port.
    #[must_use]
    pub(crate) fn new(peers: Arc<Peers>, port: u16) -> Self {
        Self {
            peers,
            port,
            silent: BTreeMap::new(),
        }
    }

    /// Asks all of them at once.
    pub(crate) async fn ask(&mut self) -> GatheredStats {
        let others = self.peers.others();
        let ask = |ip| {
            let address = SocketAddr::new(ip, self.port);
            ask_peer::<Report>(address, Method::GET, "/stats", ASK_TIMEOUT)
        };
        let answers = join_all(others.iter().map(|(_, ip)| ask(*ip))).await;
        let mut result = GatheredStats {
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
                    result.complete &= since.elapsed() > SILENT_PEER_TTL;
                }
            }
        }
        result
    }
}
