//! Where a request is worked on.

use std::{sync::Arc, time::Duration};

use crate::backend::{
    endpoint::Endpoint,
    revision::permit::{Slot, Visit},
};

/// Where a request is worked on. It is kept until the last byte of the response, or until the tunnel
/// ends.
#[derive(Debug)]
pub(crate) enum Site {
    /// On an instance of its function.
    Instance {
        /// The place that it takes there.
        slot: Slot,
        /// What the autoscaler counts.
        visit: Visit,
    },
    /// At the gateway that keeps the function, which counts it.
    Keeper(Arc<Endpoint>),
}

// === impl Site ===

impl Site {
    /// Where it is sent.
    #[must_use]
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        match self {
            Self::Instance { slot, .. } => slot.endpoint(),
            Self::Keeper(keeper) => keeper,
        }
    }

    /// The longest silence. A keeper has a clock of its own.
    #[must_use]
    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        match self {
            Self::Instance { visit, .. } => visit.revision().settings().timeouts.idle,
            Self::Keeper(_) => None,
        }
    }
}
