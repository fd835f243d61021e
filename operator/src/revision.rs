//! The controller of Revisions: from a Revision to its Deployment, the ConfigMap with its source,
//! and its status.
//!
//! The same steps as for a Function; what to do about the children is decided in [`plan`]. There is little left
//! to validate, since a Revision is made of
//! what was validated; but what it may do on its node is held to its profile once more when it is built.

mod apply;
pub(crate) mod build;
mod built;
pub(crate) mod crash;
mod dereference;
mod diagnose;
mod image;
mod making;
mod plan;
pub(crate) mod start;
mod status;

use std::{sync::Arc, time::Duration};

use fermata_crds::{Revision, RevisionStatus, conditions};
use fermata_daemon::watch::Key;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;

use self::{
    apply::{Applied, ApplyError},
    dereference::{Inputs, ReadError},
    diagnose::{Diagnosis, Failure as Trouble},
    image::Decision,
};
use crate::{
    cache::Index,
    cluster::Origin,
    context::Context,
    controller::{Failure, Reconciled},
    metrics::Outcome,
    plan::ChildPlan,
    writes::WriteError,
};

/// How soon a child that could not be made is tried again when nothing is seen to change.
const REFUSED_RETRY: Duration = Duration::from_secs(30);

/// How long "it is starting" may wait, so that a quick start is told in one write.
const FIRST_STATUS_DELAY: Duration = Duration::from_secs(2);

/// Why a Revision could not be reconciled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A child cannot be looked at.
    #[error("cannot look at the revision's children")]
    Dereference(#[from] ReadError),
    /// A child cannot be brought to where it should be.
    #[error("cannot bring the revision's children to where they should be")]
    Apply(#[source] ApplyError),
    /// The Job that builds the image can neither be made nor deleted.
    #[error("cannot make or delete the Job that builds the revision's image")]
    Build(#[source] WriteError),
    /// The status cannot be written.
    #[error("cannot write the revision's status")]
    Status(#[source] WriteError),
}

impl Failure for Error {
    fn is_routine(&self) -> bool {
        match self {
            Self::Dereference(_) | Self::Apply(ApplyError::Read(_)) => false,
            Self::Apply(ApplyError::Write(error)) | Self::Build(error) | Self::Status(error) => {
                error.is_routine()
            }
        }
    }

    fn category(&self) -> &'static str {
        match self {
            Self::Dereference(_) | Self::Apply(ApplyError::Read(_)) => "read",
            Self::Apply(ApplyError::Write(error)) | Self::Build(error) | Self::Status(error) => {
                error.category()
            }
        }
    }
}

/// Brings a Revision to where its spec wants it.
pub(crate) async fn reconcile(
    revision: Arc<Revision>,
    context: &Context,
) -> Result<Reconciled, Error> {
    if revision.metadata.deletion_timestamp.is_some() {
        // Its children go by their owner references.
        return Ok(Reconciled::done());
    }
    let inputs = dereference::dereference(revision, &context.cluster);
    if !may_have_children(&inputs) {
        return Ok(Reconciled::done());
    }
    let now = Timestamp::now();
    // What cannot be built is told below.
    let template = image::is_for(&inputs.revision)
        .then(|| build::pod_template(&inputs.revision, &context.options).ok())
        .flatten();
    let mut image = template.as_ref().map(|template| {
        let donors = |key: &str| {
            let key = Key::of(&*inputs.revision).sibling(key);
            context.cluster.revisions.indexed(&Index::Layer(key))
        };
        Box::new(image::decide(
            &inputs,
            template,
            donors,
            &context.options,
            now,
        ))
    });
    let built = image.as_ref().and_then(|image| image.image());
    let built = build::build(&inputs.revision, &context.options, built).map(Box::new);
    let may_change = built.is_ok();
    let applied = match built {
        Ok(desired) => {
            let pending = image.as_ref().is_some_and(|image| image.is_pending());
            // What has served without an image is made again without one when it is gone.
            let status = inputs.revision.status.as_ref();
            let has_served = status.is_some_and(|status| status.has_been_ready);
            let pending = pending && (inputs.deployment.is_some() || !has_served);
            let live = if pending {
                inputs.deployment.clone()
            } else {
                dereference::deployment(&inputs, context).await?
            };
            let mut prepared = plan::plan(*desired, &inputs, live.as_deref(), &context.accepted);
            if pending {
                // No instance starts before the image is there; what runs already goes on.
                prepared.deployment = ChildPlan::Keep;
            }
            apply::apply(prepared, &inputs, context)
                .await
                .map_err(Error::Apply)?
        }
        Err(error) => apply::nothing(&error, &inputs),
    };
    let making = match (image.as_mut(), &template) {
        (Some(image), Some(template)) if applied.failure.is_none() => {
            making::carry_out(image, &inputs, template, now, context)
                .await
                .map_err(Error::Build)?
        }
        _ => None,
    };
    let Diagnosis { failure, again } = diagnosis(&inputs, &applied, now);
    let image = image.as_deref();
    let delayed = write_status(&inputs, &applied, image, failure.as_ref(), now, context).await?;
    let retry = (may_change && applied.failure.is_some()).then_some(REFUSED_RETRY);
    Ok(Reconciled {
        outcome: if applied.failure.is_some() {
            Outcome::Rejected
        } else {
            Outcome::Ok
        },
        action: [retry, delayed, again, making]
            .into_iter()
            .flatten()
            .min()
            .map_or_else(Action::await_change, Action::requeue),
    })
}

/// A Revision has children from when the Function's status names it, or at once if it starts with
/// no replicas. It keeps them until it is deleted.
fn may_have_children(inputs: &Inputs) -> bool {
    let Some(function) = &inputs.function else {
        return false;
    };
    inputs.deployment.is_some()
        || start::is_named(function, &inputs.revision)
        || start::replicas_of(&inputs.revision, inputs.serving_ready) == 0
}

/// What the cluster says against the Revision's replicas.
fn diagnosis(inputs: &Inputs, applied: &Applied, now: Timestamp) -> Diagnosis {
    let deployment = applied.deployment.as_deref();
    let Some(deployment) = deployment.filter(|deployment| deployment.wanted > 0) else {
        return Diagnosis::default();
    };
    let status = inputs.revision.status.as_ref();
    let previous =
        status.and_then(|status| conditions::find(&status.conditions, conditions::READY));
    let patience = inputs.revision.spec.template.timeouts().start();
    diagnose::diagnose(deployment, &inputs.pods, patience, previous, now)
}

/// Writes the status if it says something new. Returns when to look again if it may wait.
async fn write_status(
    inputs: &Inputs,
    applied: &Applied,
    image: Option<&Decision>,
    trouble: Option<&Trouble>,
    now: Timestamp,
    context: &Context,
) -> Result<Option<Duration>, Error> {
    let new = status::status(inputs, applied, image, trouble, &context.options, now);
    if inputs.revision.status.as_ref() == Some(&new) {
        return Ok(None);
    }
    if may_wait(&inputs.revision, &new, now) {
        return Ok(Some(FIRST_STATUS_DELAY));
    }
    let written = context.writes.apply_status(&*inputs.revision, &new).await;
    let mut written = match written {
        Ok(written) => written,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(Error::Status(error)),
    };
    written.managed_fields_mut().clear();
    if let Some(change) = context.cluster.revisions.remember(written) {
        context.cluster.revision_changed(&change, Origin::Own);
    }
    Ok(None)
}

fn may_wait(revision: &Revision, new: &RevisionStatus, now: Timestamp) -> bool {
    let young = revision
        .creation_timestamp()
        .is_some_and(|created| now.duration_since(created.0).unsigned_abs() < FIRST_STATUS_DELAY);
    revision.status.is_none() && young && status::is_transient(new)
}
