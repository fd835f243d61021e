//! Step four: the writes. Nothing that belongs to somebody else is touched.

use std::fmt::Debug;

use fermata_crds::Revision;
use fermata_daemon::watch::Key;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{apps::v1::Deployment, core::v1::ConfigMap},
};
use kube::{
    Api, Resource, ResourceExt as _,
    core::{PartialObjectMeta, PartialObjectMetaExt as _},
};
use serde::de::DeserializeOwned;

use super::{
    build::{BuildError, Desired},
    dereference::Seen,
    diagnose::Failure,
    start,
};
use crate::{
    children::{self, APPLIED_ANNOTATION},
    context::Context,
    observed::{self, deployment::ObservedDeployment},
    reasons,
    writes::{Conflicts, WriteError},
};

/// Why the children could not be brought to where they should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The API server cannot be read.
    #[error("cannot look for a {kind} named {name}")]
    Read {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What the API server said.
        #[source]
        source: Box<kube::Error>,
    },
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

/// Brings the children to where they should be: first the source, which the pods mount, then the
/// Deployment.
pub(crate) async fn apply(
    desired: Desired,
    seen: &Seen,
    context: &Context,
) -> Result<Applied, ApplyError> {
    let Desired {
        config_map,
        deployment,
    } = desired;
    let outcome = match config_map {
        Some(config_map) => apply_config_map(config_map, seen, context).await,
        None => Ok(()),
    };
    let outcome = match outcome {
        Ok(()) => apply_deployment(deployment, seen, context).await,
        Err(obstacle) => Err(obstacle),
    };
    let failure = match outcome {
        Ok(()) => None,
        Err(Obstacle::Failure(failure)) => Some(failure),
        Err(Obstacle::Error(error)) => return Err(error),
    };
    let key = Key::of(&*seen.revision);
    let deployment = context.cluster.deployments.get(&key);
    Ok(Applied {
        deployment: deployment.filter(|deployment| owns(&seen.revision, deployment)),
        failure,
    })
}

/// Writes nothing, since nothing may be built. What is there stays as it is.
pub(crate) fn nothing(error: &BuildError, seen: &Seen) -> Applied {
    let own = seen.deployment.iter();
    let mut own = own.filter(|deployment| owns(&seen.revision, deployment));
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
    mut config_map: ConfigMap,
    seen: &Seen,
    context: &Context,
) -> Result<(), Obstacle> {
    let labels = config_map.metadata.labels.clone().unwrap_or_default();
    let mut orphan = false;
    let conflicts = match &seen.config_map {
        None => Conflicts::Refuse,
        Some(live) => {
            let own = live.is_controlled_by(&seen.revision.uid().unwrap_or_default());
            orphan = live.is_orphan(&labels);
            if !own && !orphan {
                return Err(foreign(
                    "ConfigMap",
                    reasons::CONFIG_MAP_CONFLICT,
                    &live.name,
                ));
            }
            // Its content never changes, so that only the labels and the owner can have.
            if live.deleting || own && live.labels == labels {
                return Ok(());
            }
            if orphan {
                children::bind(&mut config_map.metadata, &live.uid, &live.resource_version);
                check_files(&config_map, context).await?;
            }
            Conflicts::Take
        }
    };
    let written = match context.writes.apply(&config_map, conflicts).await {
        Err(error) if orphan => {
            let Some(sentence) = error.refusal() else {
                return Err(error.into());
            };
            return Err(not_adopted(&config_map, sentence));
        }
        written => written?,
    };
    let metadata: PartialObjectMeta<ConfigMap> = written.metadata.into_request_partial();
    let written = observed::config_map::observe(metadata);
    context.cluster.config_maps.remember(written);
    Ok(())
}

/// A ConfigMap that lost its owner is taken over with these files only: everybody may label one, and an
/// apply would leave further files in it.
async fn check_files(wanted: &ConfigMap, context: &Context) -> Result<(), Obstacle> {
    let live = read::<ConfigMap>("ConfigMap", &Key::of(wanted), context).await?;
    let holds = |live: ConfigMap| {
        live.data == wanted.data && live.binary_data.is_none_or(|files| files.is_empty())
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
    mut deployment: Deployment,
    seen: &Seen,
    context: &Context,
) -> Result<(), Obstacle> {
    let key = Key::of(&*seen.revision);
    let live = match &seen.deployment {
        Some(live) => Some(live.clone()),
        // The watch sees only what carries our labels. One that lacks them may be somebody else's,
        // or our own without them.
        None => read::<Deployment>("Deployment", &key, context)
            .await?
            .map(observed::deployment::observe)
            .map(std::sync::Arc::new),
    };
    let digest = digest_of(&deployment);
    let conflicts = match &live {
        None => {
            let replicas = start::replicas_of(&seen.revision, seen.serving_ready);
            set_replicas(&mut deployment, replicas);
            Conflicts::Refuse
        }
        Some(live) => {
            let own = owns(&seen.revision, live);
            let orphan = live.is_orphan(deployment.labels());
            if !own && !orphan {
                return Err(foreign(
                    "Deployment",
                    reasons::DEPLOYMENT_CONFLICT,
                    &live.name,
                ));
            }
            let is_wanted = || {
                live.live.holds(&deployment) || context.accepted.covers(&key, &digest, &live.live)
            };
            if live.deleting || own && is_wanted() {
                return Ok(());
            }
            if orphan {
                let live = overwrite(&deployment, live, context).await?;
                keep_replicas(&mut deployment, &live);
                children::bind(&mut deployment.metadata, &live.uid, &live.resource_version);
            } else {
                keep_replicas(&mut deployment, live);
            }
            Conflicts::Take
        }
    };
    let wanted = deployment.clone();
    let written = context.writes.apply(&deployment, conflicts).await?;
    let written = observed::deployment::observe(written);
    if written.live.holds(&wanted) {
        context.accepted.forget(&key);
    } else {
        context.accepted.record(&key, &digest, &written.live);
    }
    context.cluster.deployments.remember(written);
    Ok(())
}

/// Takes a Deployment over that lost its owner, but for its replicas.
async fn overwrite(
    wanted: &Deployment,
    live: &ObservedDeployment,
    context: &Context,
) -> Result<ObservedDeployment, Obstacle> {
    let mut whole = wanted.clone();
    set_replicas(&mut whole, live.wanted);
    children::bind(&mut whole.metadata, &live.uid, &live.resource_version);
    let written = context.writes.overwrite(&whole).await?;
    Ok(observed::deployment::observe(written))
}

/// Reads an object of which the watch does not tell enough.
async fn read<K>(kind: &'static str, key: &Key, context: &Context) -> Result<Option<K>, Obstacle>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(context.client.clone(), &key.namespace);
    api.get_opt(&key.name).await.map_err(|source| {
        Obstacle::Error(ApplyError::Read {
            kind,
            name: key.name.to_string(),
            source: Box::new(source),
        })
    })
}

/// The replicas belong to whoever scales. Until somebody does, leaving them out of an apply would
/// take them away, so they are sent as they are, together with the version they were read at: if
/// somebody scales in between, the apply is refused instead of undoing it.
fn keep_replicas(deployment: &mut Deployment, live: &ObservedDeployment) {
    deployment.metadata.uid = Some(live.uid.clone());
    if !live.scaled_by_others {
        set_replicas(deployment, live.wanted);
        deployment.metadata.resource_version = Some(live.resource_version.clone());
    }
}

fn set_replicas(deployment: &mut Deployment, replicas: i32) {
    if let Some(spec) = &mut deployment.spec {
        spec.replicas = Some(replicas);
    }
}

fn digest_of(deployment: &Deployment) -> String {
    let annotations = deployment.annotations();
    annotations
        .get(APPLIED_ANNOTATION)
        .cloned()
        .unwrap_or_default()
}

fn owns(revision: &Revision, deployment: &ObservedDeployment) -> bool {
    deployment.is_controlled_by(&revision.uid().unwrap_or_default())
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

impl From<WriteError> for Obstacle {
    fn from(error: WriteError) -> Self {
        let Some(sentence) = error.refusal() else {
            return Self::Error(error.into());
        };
        let reason = if sentence.contains("exceeded quota") {
            reasons::QUOTA_EXCEEDED
        } else {
            reasons::REFUSED
        };
        Self::Failure(Failure {
            reason,
            message: sentence.to_owned(),
            capacity: false,
        })
    }
}
