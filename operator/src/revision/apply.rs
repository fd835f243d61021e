//! Step four: the writes. Nothing that belongs to somebody else is touched.

use fermata_daemon::watch::Key;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    ResourceExt as _,
    core::{PartialObjectMeta, PartialObjectMetaExt as _},
};

use super::{
    build::BuildError,
    dereference::{Inputs, ReadError, read},
    diagnose::Failure,
    plan::{Prepared, digest_of, keep_replicas, owns},
};
use crate::{
    children,
    context::Context,
    observed::{self, deployment::ObservedDeployment},
    plan::ChildPlan,
    reasons,
    writes::{Conflicts, WriteError},
};

/// Why the children could not be brought to where they should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// What is to be taken over cannot be looked at.
    #[error("cannot look at a child that is to be taken over")]
    Read(#[from] ReadError),
    /// A child cannot be written.
    #[error("cannot write a child")]
    Write(#[from] WriteError),
}

/// What became of the children.
pub(crate) struct Applied {
    /// The Deployment as it is now; none while there is to be none.
    pub(crate) deployment: Option<std::sync::Arc<ObservedDeployment>>,
    /// Why a child is not there.
    pub(crate) failure: Option<Failure>,
}

/// Carries out the plan: first the source, which the pods mount, then the Deployment.
pub(crate) async fn apply(
    prepared: Prepared,
    inputs: &Inputs,
    context: &Context,
) -> Result<Applied, ApplyError> {
    let Prepared {
        config_map,
        deployment,
    } = prepared;
    let name = inputs.revision.name_any();
    let outcome = match config_map {
        Some(plan) => apply_config_map(plan, &name, context).await,
        None => Ok(()),
    };
    let outcome = match outcome {
        Ok(()) => apply_deployment(deployment, &name, context).await,
        Err(obstacle) => Err(obstacle),
    };
    let failure = match outcome {
        Ok(()) => None,
        Err(Obstacle::Failure(failure)) => Some(failure),
        Err(Obstacle::Error(error)) => return Err(error),
    };
    let key = Key::of(&*inputs.revision);
    let deployment = context.cluster.deployments.get(&key);
    Ok(Applied {
        deployment: deployment.filter(|deployment| owns(&inputs.revision, deployment)),
        failure,
    })
}

/// Writes nothing, since nothing may be built. What is there stays as it is.
pub(crate) fn nothing(error: &BuildError, inputs: &Inputs) -> Applied {
    let own = inputs.deployment.iter();
    let mut own = own.filter(|deployment| owns(&inputs.revision, deployment));
    Applied {
        deployment: own.next().cloned(),
        failure: Some(Failure {
            reason: error.reason(),
            message: error.to_string(),
            capacity: false,
        }),
    }
}

/// What stands in the way of a child: something to tell the user, or something to try again.
enum Obstacle {
    Failure(Failure),
    Error(ApplyError),
}

async fn apply_config_map(
    plan: ChildPlan<ConfigMap>,
    name: &str,
    context: &Context,
) -> Result<(), Obstacle> {
    let written = match plan {
        ChildPlan::Keep => return Ok(()),
        ChildPlan::Foreign => {
            return Err(foreign("ConfigMap", reasons::CONFIG_MAP_CONFLICT, name));
        }
        ChildPlan::Create(wanted) => context.writes.apply(&*wanted, Conflicts::Refuse).await?,
        ChildPlan::Repair(wanted) => context.writes.apply(&*wanted, Conflicts::Take).await?,
        ChildPlan::Adopt(wanted) => {
            check_files(&wanted, context).await?;
            match context.writes.apply(&*wanted, Conflicts::Take).await {
                Ok(written) => written,
                Err(error) => match error.refusal() {
                    Some(sentence) => return Err(not_adopted(&wanted, sentence)),
                    None => return Err(error.into()),
                },
            }
        }
    };
    let metadata: PartialObjectMeta<ConfigMap> = written.metadata.into_request_partial();
    let written = observed::config_map::observe(metadata);
    context.cluster.config_maps.remember(written);
    Ok(())
}

/// A ConfigMap that lost its owner is taken over with these files only: everybody may label one, and an
/// apply would leave further files in it.
async fn check_files(wanted: &ConfigMap, context: &Context) -> Result<(), Obstacle> {
    let key = Key::of(wanted);
    let live = read::<ConfigMap>("ConfigMap", &key, context).await;
    let live = live.map_err(ApplyError::from)?;
    let holds = |live: ConfigMap| {
        live.data.unwrap_or_default() == wanted.data.clone().unwrap_or_default()
            && live.binary_data.unwrap_or_default()
                == wanted.binary_data.clone().unwrap_or_default()
    };
    if live.is_none_or(holds) {
        return Ok(());
    }
    Err(not_adopted(wanted, "it holds other files"))
}

fn not_adopted(config_map: &ConfigMap, why: &str) -> Obstacle {
    let name = config_map.name_any();
    Obstacle::Failure(Failure {
        reason: reasons::CONFIG_MAP_CONFLICT,
        message: format!(
            "the ConfigMap {name} is left of an earlier Revision of this name and cannot be taken over ({why}); delete it"
        ),
        capacity: false,
    })
}

async fn apply_deployment(
    plan: ChildPlan<Deployment>,
    name: &str,
    context: &Context,
) -> Result<(), Obstacle> {
    let (wanted, written) = match plan {
        ChildPlan::Keep => return Ok(()),
        ChildPlan::Foreign => {
            return Err(foreign("Deployment", reasons::DEPLOYMENT_CONFLICT, name));
        }
        ChildPlan::Create(wanted) => {
            let written = context.writes.apply(&*wanted, Conflicts::Refuse).await?;
            (wanted, written)
        }
        ChildPlan::Repair(wanted) => {
            let written = context.writes.apply(&*wanted, Conflicts::Take).await?;
            (wanted, written)
        }
        ChildPlan::Adopt(mut wanted) => {
            let live = context.writes.overwrite(&*wanted).await?;
            let live = observed::deployment::observe(live);
            keep_replicas(&mut wanted, &live);
            children::bind(&mut wanted.metadata, &live.uid, &live.resource_version);
            let written = context.writes.apply(&*wanted, Conflicts::Take).await?;
            (wanted, written)
        }
    };
    let key = Key::of(&written);
    let written = observed::deployment::observe(written);
    if written.live.holds(&*wanted) {
        context.accepted.forget(&key);
    } else {
        let digest = digest_of(&wanted);
        context.accepted.record(&key, &digest, &written.live);
    }
    context.cluster.deployments.remember(written);
    Ok(())
}

fn foreign(kind: &str, reason: &'static str, name: &str) -> Obstacle {
    Obstacle::Failure(Failure {
        reason,
        message: format!(
            "a {kind} named {name} is there already and is not this Revision's; delete or rename it"
        ),
        capacity: false,
    })
}

// === impl Obstacle ===

impl From<ApplyError> for Obstacle {
    fn from(error: ApplyError) -> Self {
        Self::Error(error)
    }
}

impl From<WriteError> for Obstacle {
    fn from(error: WriteError) -> Self {
        let Some(sentence) = error.refusal() else {
            return Self::Error(error.into());
        };
        Self::Failure(Failure {
            reason: WriteError::refusal_reason(sentence),
            message: sentence.to_owned(),
            capacity: false,
        })
    }
}
