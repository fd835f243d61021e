//! Step one: everything a Revision's reconcile has to know, from the caches.

use std::sync::Arc;

use fermata_crds::{Function, Revision};
use fermata_daemon::watch::Key;
use kube::ResourceExt as _;

use crate::{
    cache::{Index, controller_uid},
    cluster::{Cluster, function_of},
    observed::{config_map::ObservedConfigMap, deployment::ObservedDeployment, pod::ObservedPod},
};

/// A Revision and what belongs to it.
pub(crate) struct Seen {
    pub(crate) revision: Arc<Revision>,
    /// The Function that owns it; none while it is being deleted.
    pub(crate) function: Option<Arc<Function>>,
    /// The Deployment with the Revision's name, whoever owns it.
    pub(crate) deployment: Option<Arc<ObservedDeployment>>,
    /// The ConfigMap with the Revision's name, whoever owns it.
    pub(crate) config_map: Option<Arc<ObservedConfigMap>>,
    /// The Revision's pods that are not on their way out, by name.
    pub(crate) pods: Vec<Arc<ObservedPod>>,
    /// Ready replicas of another Revision of the Function that gets the requests now.
    pub(crate) serving_ready: Option<i32>,
}

/// Collects what belongs to the Revision.
pub(crate) fn dereference(revision: Arc<Revision>, cluster: &Cluster) -> Seen {
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
    Seen {
        deployment: cluster.deployments.get(&key),
        config_map: cluster.config_maps.get(&key),
        function,
        pods,
        serving_ready,
        revision,
    }
}
