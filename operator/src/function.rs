//! The controller of Functions: from a Function to its Revisions, its Service and its status.
//!
//! One reconcile is five steps, each in its own file: [`dereference`] reads, [`validate`] and
//! [`build`] decide without any I/O, [`apply`] writes, [`status`] says what came of it.

mod address;
mod apply;
mod build;
pub(crate) mod dereference;
pub(crate) mod hash;
pub(crate) mod look;
mod looking;
mod revisions;
mod status;
mod valid;
mod validate;

use std::{sync::Arc, time::Duration};

use fermata_crds::{Function, FunctionStatus};
use jiff::Timestamp;
use kube::{Resource as _, ResourceExt as _, runtime::controller::Action};

use self::{
    apply::{Applied, ServiceOutcome},
    dereference::{DereferenceError, Inputs},
    validate::Invalid,
};
use crate::{
    cluster::Origin,
    context::Context,
    controller::{Failure, Reconciled},
    metrics::Outcome,
    revision::start,
    writes::WriteError,
};

/// How soon something the API server refused is tried again when nothing is seen to change.
const REFUSED_RETRY: Duration = Duration::from_secs(30);

/// How long the first status may wait for the Revision's, so that one write says both. Long enough
/// for a thousand Functions that come at once.
const FIRST_STATUS_DELAY: Duration = Duration::from_secs(30);

/// Why a Function could not be reconciled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Something it refers to cannot be read.
    #[error("cannot look at what the function refers to")]
    Dereference(#[from] DereferenceError),
    /// A child cannot be written.
    #[error("cannot write the function's children")]
    Apply(#[source] WriteError),
    /// The status cannot be written.
    #[error("cannot write the function's status")]
    Status(#[source] WriteError),
}

impl Failure for Error {
    fn is_routine(&self) -> bool {
        match self {
            Self::Dereference(_) => false,
            Self::Apply(error) | Self::Status(error) => error.is_routine(),
        }
    }

    fn category(&self) -> &'static str {
        match self {
            Self::Dereference(_) => "read",
            Self::Apply(error) | Self::Status(error) => error.category(),
        }
    }
}

/// Brings a Function to where its spec wants it.
pub(crate) async fn reconcile(
    function: Arc<Function>,
    context: &Context,
) -> Result<Reconciled, Error> {
    if function.metadata.deletion_timestamp.is_some() {
        // Its children go by their owner references.
        return Ok(Reconciled::done());
    }
    let mut inputs = Box::pin(dereference::dereference(function, context)).await?;
    let look_again = Box::pin(looking::begin(&mut inputs, context))
        .await
        .map_err(Error::Apply)?;
    let inputs = inputs;
    let valid = validate::validate(&inputs, &context.options, Timestamp::now());
    let prepared = build::build(&inputs, valid.as_ref(), &context.options);
    let applied = Box::pin(apply::apply(prepared, &inputs, context))
        .await
        .map_err(Error::Apply)?;
    if let Some(current) = applied.current.as_deref()
        && let Some(revision) = applied.revisions.get(current)
    {
        inputs.remember_source(revision, &context.sources);
    }
    let retry = retry_after(&applied);
    let invalid = valid.err();
    let delayed = Box::pin(write_status(&inputs, &applied, invalid.as_ref(), context)).await?;
    Box::pin(looking::end(&inputs, context))
        .await
        .map_err(Error::Apply)?;
    Ok(Reconciled {
        outcome: if invalid.is_some() || retry.is_some() {
            Outcome::Rejected
        } else {
            Outcome::Ok
        },
        action: [retry, delayed, look_again]
            .into_iter()
            .flatten()
            .min()
            .map_or_else(Action::await_change, Action::requeue),
    })
}

fn retry_after(applied: &Applied) -> Option<Duration> {
    let refused =
        applied.revision_refused.is_some() || matches!(applied.service, ServiceOutcome::Refused(_));
    refused.then_some(REFUSED_RETRY)
}

/// Writes the status if it says something new. Returns when to look again if it may wait.
async fn write_status(
    inputs: &Inputs,
    applied: &Applied,
    invalid: Option<&Invalid>,
    context: &Context,
) -> Result<Option<Duration>, Error> {
    let old = inputs.function.status.as_ref();
    let now = Timestamp::now();
    let new = status::status(inputs, applied, invalid, &context.options, now);
    if status::same(old, &new) {
        return Ok(None);
    }
    if may_wait(inputs, applied, &new, now) {
        return Ok(Some(FIRST_STATUS_DELAY));
    }
    let written = context.writes.apply_status(&*inputs.function, &new).await;
    let mut written = match written {
        Ok(written) => written,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(Error::Status(error)),
    };
    written.managed_fields_mut().clear();
    let reference = inputs.function.object_ref(&());
    for note in status::event_notes(old, &new) {
        context.events.send(&reference, note);
    }
    if let Some(change) = context.cluster.functions.remember(written) {
        context.cluster.function_changed(&change, Origin::Own);
    }
    Ok(None)
}

/// A Revision that starts with no replicas is ready as soon as its Deployment is written, and a
/// status that only says "being worked on" is left out. Not so with replicas: the gateway must
/// know from the status which Revision is on trial before there is a Deployment it could scale. And not
/// where the status says that something is wrong which is mended.
fn may_wait(inputs: &Inputs, applied: &Applied, new: &FunctionStatus, now: Timestamp) -> bool {
    let old = inputs.function.status.as_ref();
    let found = old.and_then(|old| old.source.as_ref()) != new.source.as_ref();
    if !status::is_transient(new) || old.is_some_and(status::is_failure) || found {
        return false;
    }
    let current = applied.current.as_deref();
    let Some(revision) = current.and_then(|name| applied.revisions.get(name)) else {
        return false;
    };
    let young = revision
        .creation_timestamp()
        .is_some_and(|created| now.duration_since(created.0).unsigned_abs() < FIRST_STATUS_DELAY);
    let serving = applied
        .revisions
        .serving(current, old)
        .and_then(|serving| inputs.deployments.get(&serving.name_any()));
    young && start::replicas(&revision.spec.scale(), serving.map(|serving| serving.ready)) == 0
}
