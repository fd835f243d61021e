//! What the gateway tells and takes on its admin port, besides its metrics: `/readyz`, `/stats` and
//! `/handover`.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use fermata_daemon::{
    admin::{Answer, Routes, json, text},
    watch::Key,
};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;

use crate::{
    cluster::{
        ownership::{HANDOVER_PATH, Ownership},
        watch::Health,
    },
    scale::stats::Counter,
};

/// What the admin listener can tell.
#[derive(Debug)]
pub(crate) struct Pages {
    /// Whether the watches are up.
    pub(crate) health: Arc<Health>,
    /// The statistics for the leader.
    pub(crate) counter: Counter,
    /// Hands functions with a hard limit over to other gateways.
    pub(crate) ownership: Arc<Ownership>,
    /// Set when the gateway stops: it is no longer ready.
    pub(crate) stopping: AtomicBool,
}

// === impl Pages ===

impl Pages {
    /// Hands a Revision over to the gateway that asks for it.
    fn hand_over(&self, request: &Request<Incoming>, peer: Option<IpAddr>) -> Answer {
        let key = request.uri().query().and_then(|key| key.split_once('/'));
        let (Some((namespace, name)), &Method::POST) = (key, request.method()) else {
            return text(
                StatusCode::BAD_REQUEST,
                "gateways POST /handover?NAMESPACE/REVISION here\n",
            );
        };
        let key = Key::new(namespace, name);
        match peer.and_then(|peer| self.ownership.hand_over(peer, &key)) {
            Some(handover) => json(&handover),
            None => text(
                StatusCode::FORBIDDEN,
                "only other gateways may ask for this\n",
            ),
        }
    }
}

impl Routes for Pages {
    fn readiness(&self) -> Result<(), &'static str> {
        if self.stopping.load(Ordering::Relaxed) {
            Err("stopping")
        } else if self.health.is_synced() {
            Ok(())
        } else {
            Err("functions, revisions, deployments and pods are not all listed yet")
        }
    }

    fn paths(&self) -> &'static [&'static str] {
        &["/stats"]
    }

    fn answer(&self, request: &Request<Incoming>, peer: Option<IpAddr>) -> Option<Answer> {
        match (request.uri().path(), request.method()) {
            (HANDOVER_PATH, _) => Some(self.hand_over(request, peer)),
            ("/stats", &Method::GET | &Method::HEAD) => Some(json(&self.counter.report())),
            _ => None,
        }
    }
}
