//! Step one: everything a Revision's reconcile has to know, from the caches and, for a Deployment that no watch
//! tells of, from the API server.

use std::{fmt::Debug, sync::Arc};

use fermata_crds::{Function, Revision, names};
use fermata_daemon::watch::Key;
use k8s_openapi::{NamespaceResourceScope, api::apps::v1::Deployment};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::{
    cache::{Index, controller_uid},
    cluster::{Cluster, function_of},
    context::Context,
    observed::{
        self, config_map::ObservedConfigMap, deployment::ObservedDeployment, job::ObservedJob,
        pod::ObservedPod,
    },
};

/// A Revision and what belongs to it.
pub(crate) struct Inputs {
    pub(crate) revision: Arc<Revision>,
    /// The Function that owns it; none while it is being deleted.
    pub(crate) function: Option<Arc<Function>>,
    /// The Deployment with the Revision's name, whoever owns it.
    pub(crate) deployment: Option<Arc<ObservedDeployment>>,
    /// The ConfigMap with the Revision's name, whoever owns it.
    pub(crate) config_map: Option<Arc<ObservedConfigMap>>,
    /// The Revision's pods that are not on their way out, by name.
    pub(crate) pods: Vec<Arc<ObservedPod>>,
    /// The Job that builds its image, whoever owns it.
    pub(crate) job: Option<Arc<ObservedJob>>,
    /// The pods of that Job.
    pub(crate) build_pods: Vec<Arc<ObservedPod>>,
    /// Ready replicas of another Revision of the Function that gets the requests now.
    pub(crate) serving_ready: Option<i32>,
}

/// An object cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot look for a {kind} named {name}")]
pub(crate) struct ReadError {
    kind: &'static str,
    name: String,
    source: Box<kube::Error>,
}

/// Collects what belongs to the Revision.
pub(crate) fn dereference(revision: Arc<Revision>, cluster: &Cluster) -> Inputs {
    let key = Key::of(&*revision);
    let function = cluster
        .functions
        .get(&function_of(&revision))
        .filter(|function| controller_uid(&*revision) == function.metadata.uid.as_deref());
    let mut pods = cluster.pods.indexed(&Index::Revision(key.clone()));
    pods.retain(|pod| !pod.deleting);
    let serving_ready = function.as_ref().and_then(|function| {
        let traffic = &function.status.as_ref()?.traffic;
        let others = traffic
            .iter()
            .filter(|target| target.revision != revision.name_any());
        others
            .filter_map(|target| cluster.deployments.get(&key.sibling(&*target.revision)))
            .map(|deployment| deployment.ready)
            .max()
    });
    let job = cluster
        .jobs
        .get(&key.sibling(names::build_job_name(&key.name)));
    let mut build_pods = cluster.pods.indexed(&Index::Build(key.clone()));
    // Labels are for everybody to write.
    build_pods.retain(|pod| {
        job.as_ref()
            .is_some_and(|job| pod.is_controlled_by(&job.uid))
    });
    Inputs {
        job,
        build_pods,
        deployment: cluster.deployments.get(&key),
        config_map: cluster.config_maps.get(&key),
        function,
        pods,
        serving_ready,
        revision,
    }
}

/// The Deployment with the Revision's name. The watch sees only what carries our labels: one that lacks them
/// may be somebody else's, or our own without them.
pub(crate) async fn deployment(
    inputs: &Inputs,
    context: &Context,
) -> Result<Option<Arc<ObservedDeployment>>, ReadError> {
    if let Some(known) = &inputs.deployment {
        return Ok(Some(known.clone()));
    }
    let read = read::<Deployment>("Deployment", &Key::of(&*inputs.revision), context).await?;
    Ok(read.map(observed::deployment::observe).map(Arc::new))
}

/// Reads an object of which the watch does not tell enough.
pub(crate) async fn read<K>(
    kind: &'static str,
    key: &Key,
    context: &Context,
) -> Result<Option<K>, ReadError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(context.client.clone(), &key.namespace);
    api.get_opt(&key.name).await.map_err(|source| ReadError {
        kind,
        name: key.name.to_string(),
        source: Box::new(source),
    })
}
