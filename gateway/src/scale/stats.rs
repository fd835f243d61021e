//! What one gateway tells the leader. Counters only go up, so that the leader can ask whenever it
//! likes, and a gateway need not know who asks.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    backend::{registry::Registry, revision::Revision},
    clock, random,
};

/// How much longer than its windows a silent Revision is told of.
const LINGER: Duration = Duration::from_secs(10);

/// Makes reports.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    registry: Arc<Registry>,
    instance: Arc<str>,
}

/// The statistics of one gateway.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Report {
    /// Tells this run of this gateway from all others.
    pub(crate) instance: String,
    /// When it was made, in microseconds on the gateway's own scale.
    pub(crate) at: u64,
    /// Revisions with recent requests, or with pods that are marked to go.
    pub(crate) revisions: Vec<RevisionReport>,
}

/// The statistics of one Revision in one gateway.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct RevisionReport {
    /// Namespace of the Revision.
    pub(crate) namespace: String,
    /// Name of the Revision.
    pub(crate) name: String,
    /// Requests that wait or run.
    pub(crate) active: u32,
    /// Microseconds that all requests together have taken, modulo 2^44.
    pub(crate) busy: u64,
    /// Requests that have come.
    pub(crate) arrivals: u64,
    /// The pods that are marked to get no new requests.
    pub(crate) draining: Vec<DrainingPod>,
}

/// A pod that this gateway sends no new requests.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct DrainingPod {
    /// Name of the pod.
    pub(crate) pod: String,
    /// Requests of this gateway that still run on it.
    pub(crate) in_flight: u32,
}

// === impl Counter ===

impl Counter {
    /// Reports on these Revisions.
    #[must_use]
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            instance: format!("{:016x}", random::bits()).into(),
        }
    }

    /// The statistics of this moment.
    #[must_use]
    pub(crate) fn report(&self) -> Report {
        let at = clock::now();
        let revisions = self.registry.revisions();
        Report {
            instance: self.instance.to_string(),
            at,
            revisions: revisions
                .iter()
                .filter_map(|revision| report(revision, at))
                .collect(),
        }
    }
}

fn report(revision: &Revision, now: clock::Micros) -> Option<RevisionReport> {
    let scale = revision.scale();
    let draining = revision.observe(|observed| {
        let marked = observed.live().filter(|pod| pod.state.draining);
        let draining = marked.map(|pod| DrainingPod {
            pod: pod.state.name.to_string(),
            in_flight: pod.in_flight(),
        });
        draining.collect::<Vec<_>>()
    });
    let recent = scale.window.max(scale.idle_after) + LINGER;
    if draining.is_empty() && !revision.was_active_within(recent, now) {
        return None;
    }
    let load = revision.load(now);
    Some(RevisionReport {
        namespace: revision.key().namespace.to_string(),
        name: revision.key().name.to_string(),
        active: load.active,
        busy: load.busy,
        arrivals: revision.arrivals(),
        draining,
    })
}
