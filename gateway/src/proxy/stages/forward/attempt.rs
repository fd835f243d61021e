//! One attempt to have a request answered.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{
    choose::choose,
    failures,
    outgoing::Outgoing,
    prepare,
    retry::{RetryState, Unsent},
};
use crate::{
    backend::{endpoint::Endpoint, revision::Revision},
    failure::{Failure, Unreachable},
    proxy::{access::Record, context::ProxyContext, destination::Destination},
    upstream::{
        Link, SendError, deadlines::Deadlines, pool::ConnectError, request_body::RequestBody,
    },
};

/// What came of an attempt.
pub(super) enum Attempt {
    /// There is a response.
    Responded(Answer),
    /// No byte of the request can have reached a function: here it is back.
    Unsent(Request<RequestBody>, Unsent),
    /// There is none, and must not be another attempt.
    Failed(Failure),
}

/// An instance's answer, and all that has to live as long as its body.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) link: Link,
    pub(super) deadlines: Deadlines,
    pub(super) destination: Destination,
}

/// Sends the request to an instance or to its function's owner, and waits for the head of the answer.
///
/// # Cancel safety
///
/// Dropping the future gives up what the request holds by then, and the connection it was sent over.
pub(super) async fn attempt(
    context: &ProxyContext,
    outgoing: &Outgoing<'_>,
    mut request: Request<RequestBody>,
    retries: &RetryState,
    record: &mut Record,
) -> Attempt {
    let route = outgoing
        .function
        .route(record.timing.arrived, &context.dismiss);
    let revision = match outgoing.client.while_connected(route).await {
        Ok(revision) => revision,
        Err(failure) => return Attempt::Failed(failure),
    };
    let destination = match choose(context, outgoing, &revision, retries, record).await {
        Ok(Some(destination)) => destination,
        Ok(None) => return Attempt::Unsent(request, Unsent::Moved),
        Err(failure) => return Attempt::Failed(failure),
    };
    let endpoint = destination.endpoint();
    let (mut link, reused) = match connect(endpoint, &revision, retries, record).await {
        Ok(connected) => connected,
        Err(error) => {
            let failure = failures::unreachable(endpoint, error);
            eject(context, &revision, &destination);
            return Attempt::Unsent(request, Unsent::Refused(failure));
        }
    };
    let mut deadlines = outgoing.aim(context, &revision, &destination, &mut request);
    let sent = Instant::now();
    let outcome = link.send(request, &mut deadlines).await;
    record.timing.function = sent.elapsed();
    match outcome {
        Ok(response) => {
            deadlines.head_arrived();
            Attempt::Responded(Answer {
                response,
                link,
                deadlines,
                destination,
            })
        }
        Err(SendError::Unsent(mut request)) => {
            if let Destination::Owner(_) = &destination {
                prepare::unmark(&mut request);
            }
            let why = if reused {
                Unsent::Stale
            } else {
                let failure = failures::unreachable(endpoint, Unreachable::ClosedAtOnce);
                eject(context, &revision, &destination);
                Unsent::Refused(failure)
            };
            Attempt::Unsent(*request, why)
        }
        Err(SendError::Answer(error)) => {
            let limit = context.limits.body_bytes;
            let meter = outgoing.meter.map(|meter| &**meter);
            Attempt::Failed(failures::no_answer(&destination, error, meter, limit))
        }
    }
}

/// A connection to the instance or the owner, and whether it was used before.
async fn connect(
    endpoint: &Endpoint,
    revision: &Revision,
    retries: &RetryState,
    record: &mut Record,
) -> Result<(Link, bool), ConnectError> {
    let protocol = revision.settings().protocol;
    if retries.trusts_idle()
        && let Some(link) = endpoint.pool.take_idle(protocol)
    {
        return Ok((link, true));
    }
    let begun = Instant::now();
    let opened = endpoint.pool.open(endpoint.address(), protocol).await;
    record.timing.connect += begun.elapsed();
    opened.map(|link| (link, false))
}

/// It did not take the connection: others go first for a moment.
fn eject(context: &ProxyContext, revision: &Arc<Revision>, destination: &Destination) {
    match destination {
        Destination::Instance { permit, .. } => {
            context.activator.eject(revision, permit.endpoint());
        }
        Destination::Owner(owner) => context.peers.eject(owner),
    }
}
