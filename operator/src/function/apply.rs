//! Step four: the writes. What the API server answers is known to the caches at once.

use std::sync::Arc;

use fermata_crds::Revision;
use fermata_daemon::events::EventNote;
use k8s_openapi::api::core::v1::Service;
use kube::{Resource as _, ResourceExt as _};
use tracing::info;

use super::{build::Prepared, dereference::Inputs, revisions::Revisions};
use crate::{
    cluster::Origin,
    context::Context,
    observed,
    plan::ChildPlan,
    reasons,
    writes::{Conflicts, WriteError},
};

/// What became of the plan. Only [`apply`] makes one, so that a status rests on what was written.
pub(crate) struct Applied {
    pub(crate) revisions: Revisions,
    pub(crate) current: Option<String>,
    /// The API server's sentence where it would not have the Revision.
    pub(crate) revision_refused: Option<String>,
    pub(crate) service: ServiceOutcome,
}

/// What became of the Service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ServiceOutcome {
    /// It is as it should be.
    Present,
    /// The name belongs to somebody else's Service.
    Foreign,
    /// The API server will not have it.
    Refused(String),
}

/// Carries out the plan: the Revision first, since everything else follows from it.
pub(crate) async fn apply(
    prepared: Prepared,
    inputs: &Inputs,
    context: &Context,
) -> Result<Applied, WriteError> {
    let Prepared {
        mut revisions,
        mut current,
        create,
        adopt,
        follow,
        service,
        surplus,
    } = prepared;
    let mut revision_refused = None;
    for orphan in adopt {
        match write(&orphan, Conflicts::Take, context).await {
            Ok(revision) => {
                info!(
                    namespace = revision.namespace(),
                    name = revision.name_any(),
                    "took over a revision that had lost its owner"
                );
                revisions.put(revision);
            }
            Err(error) => {
                let sentence = error.refusal().map(str::to_owned);
                revision_refused = Some(sentence.ok_or(error)?);
            }
        }
    }
    if let Some(revision) = create {
        match write(&revision, Conflicts::Refuse, context).await {
            Ok(revision) => {
                announce(inputs, &revision, context);
                revisions.put(revision);
            }
            Err(error) => {
                let Some(sentence) = error.refusal() else {
                    return Err(error);
                };
                revision_refused = Some(sentence.to_owned());
                let status = inputs.function.status.as_ref();
                current = status.and_then(|status| status.latest_created_revision.clone());
            }
        }
    }
    for revision in follow {
        let revision = write(&revision, Conflicts::Take, context).await?;
        revisions.put(revision);
    }
    let service = apply_service(service, context).await?;
    for revision in surplus {
        context.writes.delete(&*revision).await?;
        info!(
            namespace = revision.namespace(),
            name = revision.name_any(),
            "deleted a revision beyond the history limit"
        );
    }
    Ok(Applied {
        revisions,
        current,
        revision_refused,
        service,
    })
}

async fn write(
    revision: &Revision,
    conflicts: Conflicts,
    context: &Context,
) -> Result<Arc<Revision>, WriteError> {
    let mut written = context.writes.apply(revision, conflicts).await?;
    written.managed_fields_mut().clear();
    if let Some(change) = context.cluster.revisions.remember(written.clone()) {
        context.cluster.revision_changed(&change, Origin::Own);
    }
    Ok(Arc::new(written))
}

fn announce(inputs: &Inputs, revision: &Revision, context: &Context) {
    let name = revision.name_any();
    info!(
        namespace = revision.namespace(),
        function = inputs.function.name_any(),
        revision = name,
        "made a revision"
    );
    let note = EventNote {
        warning: false,
        reason: reasons::REVISION_CREATED.to_owned(),
        action: "Create",
        note: format!("made {name} from the function's template"),
    };
    context.events.send(&inputs.function.object_ref(&()), note);
}

async fn apply_service(
    plan: ChildPlan<Service>,
    context: &Context,
) -> Result<ServiceOutcome, WriteError> {
    let written = match plan {
        ChildPlan::Keep => return Ok(ServiceOutcome::Present),
        ChildPlan::Foreign => return Ok(ServiceOutcome::Foreign),
        ChildPlan::Create(service) => context.writes.apply(&*service, Conflicts::Refuse).await,
        ChildPlan::Repair(service) => context.writes.apply(&*service, Conflicts::Take).await,
        ChildPlan::Adopt(service) => adopt(*service, context).await,
    };
    match written {
        Ok(service) => {
            let service = observed::service::observe(service);
            context.cluster.services.remember(service);
            Ok(ServiceOutcome::Present)
        }
        Err(error) => match error.refusal() {
            Some(sentence) => Ok(ServiceOutcome::Refused(sentence.to_owned())),
            None => Err(error),
        },
    }
}

async fn adopt(mut service: Service, context: &Context) -> Result<Service, WriteError> {
    let written = context.writes.overwrite(&service).await?;
    service.metadata.resource_version = written.metadata.resource_version;
    context.writes.apply(&service, Conflicts::Take).await
}
