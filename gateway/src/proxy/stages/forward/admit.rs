//! Letting requests in: which instance takes a request, and where it waits until one can.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    activator::wake::Activator,
    backend::{
        queue::Refusal,
        revision::{Observed, Revision, permit::Permit},
    },
    failure::Failure,
};

/// How a request got, or did not get, its instance.
#[derive(Debug)]
pub(super) enum Admission {
    /// An instance takes it.
    Admitted(Permit),
    /// The revision no longer serves; ask the function again which one does.
    Moved,
}

/// Gets an instance of the revision for one request; waits in its queue if it must, waking the
/// revision. `again` puts a request that has waited before in front of those that come later.
///
/// # Errors
///
/// `QueueFull`, `StartFailed`, `StartTimeout` at the deadline, `Draining` when the gateway stops.
///
/// # Cancel safety
///
/// Dropping the future gives up the place in the queue, and an instance that was already assigned
/// goes to the next in line.
pub(super) async fn admit(
    revision: &Arc<Revision>,
    activator: &Activator,
    stop: &CancellationToken,
    deadline: Instant,
    again: bool,
) -> Result<Admission, Failure> {
    if (again || revision.queue.waiting() == 0)
        && let Some(permit) = Revision::acquire(revision)
    {
        return Ok(Admission::Admitted(permit));
    }
    if let Some(detail) = revision.failure() {
        return Err(Failure::StartFailed(detail));
    }
    let limit = revision.scale().queue;
    let place = revision
        .queue
        .join(limit, again)
        .map_err(|_full| Failure::QueueFull { limit })?;
    // An instance may have become free between the look and the queueing.
    Revision::serve_queue(revision);
    activator.ensure(revision);
    let outcome = tokio::select! {
        biased;
        outcome = place.wait() => outcome,
        () = stop.cancelled() => Err(Refusal::Draining),
        () = tokio::time::sleep_until(deadline) => {
            return Err(Failure::StartTimeout(revision.observe(Observed::wait)));
        }
    };
    match outcome {
        Ok(permit) => Ok(Admission::Admitted(permit)),
        Err(Refusal::Moved) => Ok(Admission::Moved),
        Err(Refusal::Draining) => Err(Failure::Draining),
        Err(Refusal::StartFailed(detail)) => Err(Failure::StartFailed(detail)),
    }
}
