//! The right to have one request worked on by one instance.

use std::sync::Arc;

use crate::{
    backend::{endpoint::Endpoint, revision::Revision},
    clock,
};

/// One request's place on an instance. Dropping it lets the next request in; the request holds it until the
/// last byte of the response, or until the tunnel ends.
#[derive(Debug)]
pub(crate) struct Permit {
    revision: Arc<Revision>,
    endpoint: Arc<Endpoint>,
}

/// One request's presence at a revision, waiting or running: what the autoscaler counts.
#[derive(Debug)]
pub(crate) struct ActiveRequest(Arc<Revision>);

// === impl Permit ===

impl Permit {
    /// Wraps a place that was taken on the endpoint with [`Endpoint::try_enter`].
    pub(crate) fn new(revision: Arc<Revision>, endpoint: Arc<Endpoint>) -> Self {
        Self { revision, endpoint }
    }

    /// The instance.
    #[must_use]
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.endpoint.leave();
        if self.revision.queue.waiting() > 0 {
            Revision::serve_queue(&self.revision);
        }
    }
}

// === impl ActiveRequest ===

impl ActiveRequest {
    /// Counts the request in.
    #[must_use]
    pub(crate) fn new(revision: Arc<Revision>) -> Self {
        revision.arrive(clock::now());
        Self(revision)
    }

    /// Its revision.
    #[must_use]
    pub(crate) fn revision(&self) -> &Arc<Revision> {
        &self.0
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.depart(clock::now());
    }
}
