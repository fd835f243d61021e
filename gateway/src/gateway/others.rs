//! How a gateway finds the others, and agrees with them on who does what one alone is to do.

use std::sync::Arc;

use fermata_daemon::lease::{Claim, Elector};
use tokio_util::sync::CancellationToken;

use super::{Gateway, shutdown::ShutdownStages, tasks::Tasks};
use crate::{cluster::peers::Peers, random};

// === impl Gateway ===

impl Gateway {
    /// The name of this gateway among others.
    pub(super) fn identity(&self) -> String {
        let identity = self.options.identity.clone();
        identity.unwrap_or_else(|| format!("gateway-{:016x}", random::bits()))
    }

    /// The other gateways.
    pub(super) fn others(
        &self,
        identity: &str,
        tasks: &mut Tasks,
        stages: &ShutdownStages,
    ) -> Arc<Peers> {
        let options = &self.options;
        let peers = Arc::new(Peers::new(
            identity,
            self.data.address.port(),
            self.internal.address.port(),
        ));
        if let Some(selector) = &options.peer_selector {
            let watch = peers.clone().watch(
                self.client.clone(),
                options.lease_namespace.clone(),
                selector.clone(),
                stages.background.clone(),
            );
            tasks.begin("watch of the other gateways", watch);
        }
        peers
    }

    /// Runs for a Lease, until it is given up.
    pub(super) fn claim(
        &self,
        lease: &'static str,
        identity: &str,
        title: &'static str,
        stop: CancellationToken,
        tasks: &mut Tasks,
    ) -> Claim {
        let options = &self.options;
        if !options.leader_elect {
            return Claim::always();
        }
        let (elector, claim) = Elector::new(
            self.client.clone(),
            &options.lease_namespace,
            lease,
            identity.to_owned(),
        );
        tasks.begin(title, async move { elector.run(&stop).await });
        claim
    }
}
