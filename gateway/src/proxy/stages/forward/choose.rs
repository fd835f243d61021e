//! Where a request goes: to its function's owner, or to an instance.

use std::sync::{Arc, atomic::Ordering};

use tokio::time::Instant;

use super::{
    admit::{Admission, admit},
    outgoing::Outgoing,
    retry::RetryState,
};
use crate::{
    backend::{
        endpoint::Endpoint,
        revision::{
            Revision,
            permit::{ActiveRequest, Permit},
        },
    },
    cluster::peers::Sender,
    failure::Failure,
    proxy::{access::Record, client::Client, context::ProxyContext, destination::Destination},
};

/// How often a request is passed on at most.
const MOST_HOPS: u32 = 4;

/// The function's owner, or an instance as soon as one takes the request; `None` if the revision serves no
/// more.
pub(super) async fn choose(
    context: &ProxyContext,
    outgoing: &Outgoing<'_>,
    revision: &Arc<Revision>,
    retries: &RetryState,
    record: &mut Record,
) -> Result<Option<Destination>, Failure> {
    if revision.settings().is_limited() {
        if let Some(owner) = owner(context, outgoing, revision) {
            record.passed_on(owner.pod());
            return Ok(Some(Destination::Owner(owner)));
        }
        context.ownership.ensure(revision).await;
    }
    let active = ActiveRequest::new(revision.clone());
    let permit = wait(context, outgoing.client, revision, retries, record).await?;
    Ok(permit.map(|permit| {
        record.assigned(&revision.key().name, permit.endpoint().pod());
        Destination::Instance { permit, active }
    }))
}

/// The other gateway that a request for a function with a hard limit goes to.
fn owner(
    context: &ProxyContext,
    outgoing: &Outgoing<'_>,
    revision: &Revision,
) -> Option<Arc<Endpoint>> {
    let function = outgoing.function.key();
    let leaving = context.leaving.load(Ordering::Relaxed);
    let (caller, epoch) = (outgoing.caller, context.peers.epoch());
    let by_view = |sender| {
        context
            .peers
            .owner(function, sender, caller.entrance, leaving)
    };
    // Who has taken the function over knows better than this gateway's view.
    let taker = || {
        let taker = revision.yielded_to(epoch)?;
        context.peers.at(taker, caller.entrance)
    };
    match caller.sender {
        Sender::Client => taker().or_else(|| by_view(Sender::Client)),
        Sender::Unknown => by_view(Sender::Unknown),
        // It goes on only while the function changes hands, and not for ever.
        Sender::Gateway if revision.is_held(epoch) || caller.hops >= MOST_HOPS => None,
        Sender::Gateway => taker().or_else(|| by_view(Sender::Client)),
    }
}

/// Gets an instance; `None` if the revision serves no more.
async fn wait(
    context: &ProxyContext,
    client: &Client,
    revision: &Arc<Revision>,
    retries: &RetryState,
    record: &mut Record,
) -> Result<Option<Permit>, Failure> {
    // The common case takes no look at the clock.
    if revision.queue.waiting() == 0
        && let Some(permit) = Revision::acquire(revision)
    {
        return Ok(Some(permit));
    }
    let served = revision.has_endpoints();
    let begun = Instant::now();
    let deadline = record.timing.arrived + revision.settings().timeouts.start;
    let again = retries.is_again();
    let admission = admit(
        revision,
        &context.activator,
        &context.dismiss,
        deadline,
        again,
    );
    let admission = client.while_connected(admission).await;
    let waited = begun.elapsed();
    if served {
        record.timing.queue += waited;
    } else {
        record.timing.start += waited;
    }
    match admission? {
        Admission::Admitted(permit) => Ok(Some(permit)),
        Admission::Moved => Ok(None),
    }
}
