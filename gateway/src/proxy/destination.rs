//! Where a request is worked on.

use std::{sync::Arc, time::Duration};

use crate::backend::{
    endpoint::Endpoint,
    revision::permit::{ActiveRequest, Permit},
};

/// Where a request is worked on. It is held until the last byte of the response, or until the tunnel
/// ends.
#[derive(Debug)]
pub(crate) enum Destination {
    /// On an instance of its function.
    Instance {
        /// The place that it takes there.
        permit: Permit,
        /// What the autoscaler counts.
        active: ActiveRequest,
    },
    /// At the gateway that owns the function, which counts it.
    Owner(Arc<Endpoint>),
}

// === impl Destination ===

impl Destination {
    /// Where it is sent.
    #[must_use]
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        match self {
            Self::Instance { permit, .. } => permit.endpoint(),
            Self::Owner(owner) => owner,
        }
    }

    /// The longest silence. A owner has a clock of its own.
    #[must_use]
    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        match self {
            Self::Instance { active, .. } => active.revision().settings().timeouts.idle,
            Self::Owner(_) => None,
        }
    }
}
