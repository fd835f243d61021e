//! What is known of the cluster, and which objects have to be reconciled when it changes.
//!
//! Every change leads to few objects, found by name or through an index, so that the cost of a
//! change does not grow with the number of functions. The operator's own writes take the same way
//! as what the watches tell, but do not lead back to the object that was written.

use std::sync::Arc;

use fermata_crds::{
    Function, FunctionStatus, Revision, Runtime, names,
    routes::{self, Claim, ClaimPolicy, Claimant},
};
use fermata_daemon::watch::Key;
use kube::{Resource, ResourceExt as _};

use crate::{
    cache::{Cache, Change, Index},
    inherited::Inherited,
    observed::{
        config_map::ObservedConfigMap, deployment::ObservedDeployment, job::ObservedJob,
        pod::ObservedPod, service::ObservedService,
    },
    queue::Queue,
};

/// Where a change comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    /// A watch told of it.
    Watch,
    /// The operator made it.
    Own,
}

/// All caches, and the queues of the two controllers.
pub(crate) struct Cluster {
    pub(crate) functions: Cache<Function>,
    pub(crate) revisions: Cache<Revision>,
    pub(crate) runtimes: Cache<Runtime>,
    pub(crate) deployments: Cache<ObservedDeployment>,
    pub(crate) services: Cache<ObservedService>,
    pub(crate) config_maps: Cache<ObservedConfigMap>,
    pub(crate) pods: Cache<ObservedPod>,
    /// Those that build images.
    pub(crate) jobs: Cache<ObservedJob>,
    pub(crate) function_queue: Arc<Queue<Function>>,
    pub(crate) revision_queue: Arc<Queue<Revision>>,
    pub(crate) policy: ClaimPolicy,
}

// === impl Cluster ===

impl Cluster {
    /// Nothing is known yet. Functions get of what they claim what the policy allows.
    pub(crate) fn new(policy: ClaimPolicy) -> Self {
        Self {
            policy,
            functions: Cache::new(function_terms),
            revisions: Cache::new(revision_terms),
            runtimes: Cache::new(|_| Vec::new()),
            deployments: Cache::new(|_| Vec::new()),
            services: Cache::new(|_| Vec::new()),
            config_maps: Cache::new(|_| Vec::new()),
            pods: Cache::new(pod_terms),
            jobs: Cache::new(|_| Vec::new()),
            function_queue: Arc::default(),
            revision_queue: Arc::default(),
        }
    }

    /// Everything is due, as when a replica begins to lead.
    pub(crate) fn reconcile_all(&self) {
        for function in self.functions.store().state() {
            self.function_queue.push(Key::of(&*function));
        }
        for revision in self.revisions.store().state() {
            self.revision_queue.push(Key::of(&*revision));
        }
    }

    /// The revisions of a function, also those that a deleted function of the same name left.
    pub(crate) fn revisions_of(&self, function: &Key) -> Vec<Arc<Revision>> {
        self.revisions.indexed(&Index::Function(function.clone()))
    }

    /// Who owns a host or path.
    pub(crate) fn owner(&self, claim: &Claim) -> Option<Claimant> {
        self.claimants(claim)
            .iter()
            .map(|function| Claimant::of(function))
            .min()
    }

    /// Those that ask for a host or path and may have it.
    fn claimants(&self, claim: &Claim) -> Vec<Arc<Function>> {
        let mut claimants = self.functions.indexed(&Index::Claim(claim.clone()));
        claimants.retain(|function| {
            let namespace = function.metadata.namespace.as_deref().unwrap_or_default();
            self.policy.check(namespace, claim).is_ok()
        });
        claimants
    }

    pub(crate) fn function_changed(&self, change: &Change<Function>, origin: Origin) {
        let Some(function) = change.latest() else {
            return;
        };
        let key = Key::of(&**function);
        if change.new.is_some()
            && (change.differs(identity)
                || (origin == Origin::Watch && change.differs(|function| own(&function.status))))
        {
            self.function_queue.push(key.clone());
        }
        if change.differs(|function| {
            let status = function.status.as_ref()?;
            Some((&status.latest_created_revision, &status.traffic))
        }) {
            for revision in self.revisions_of(&key) {
                self.revision_queue.push(Key::of(&*revision));
            }
        }
        if change.differs(routes::claims) {
            self.claims_changed(change, &key);
        }
    }

    /// When a host or path gets another owner, everyone who asks for it has to say something else.
    fn claims_changed(&self, change: &Change<Function>, key: &Key) {
        let claims = |function: &Option<Arc<Function>>| {
            function.as_deref().map(routes::claims).unwrap_or_default()
        };
        let (old, new) = (claims(&change.old), claims(&change.new));
        let touched = old.iter().chain(&new);
        for claim in touched.filter(|claim| old.contains(claim) != new.contains(claim)) {
            let claimants = self.claimants(claim);
            let after = claimants
                .iter()
                .map(|function| Claimant::of(function))
                .min();
            let others = claimants
                .iter()
                .filter(|function| Key::of(&***function) != *key)
                .map(|function| Claimant::of(function));
            let former = change.old.as_deref().filter(|_| old.contains(claim));
            let former = former.filter(|_| self.policy.check(&key.namespace, claim).is_ok());
            let before = others.chain(former.map(Claimant::of)).min();
            if before != after {
                for function in &claimants {
                    self.function_queue.push(Key::of(&**function));
                }
            }
        }
    }

    pub(crate) fn revision_changed(&self, change: &Change<Revision>, origin: Origin) {
        let Some(revision) = change.latest() else {
            return;
        };
        let spec = change.differs(identity);
        let status = change.differs(|revision| revision.status.clone());
        if spec || status {
            self.push_function(function_of(revision));
        }
        if change.new.is_some() && (spec || (status && origin == Origin::Watch)) {
            self.revision_queue.push(Key::of(&**revision));
        }
    }

    pub(crate) fn deployment_changed(&self, change: &Change<ObservedDeployment>) {
        let differs = change.differs(|deployment| {
            let identity = (&deployment.uid, &deployment.controller, deployment.deleting);
            (identity, &deployment.labels, (**deployment).clone())
        });
        if let (true, Some(deployment)) = (differs, change.latest()) {
            self.push_revision(Key::new(&*deployment.namespace, &*deployment.name));
        }
    }

    pub(crate) fn service_changed(&self, change: &Change<ObservedService>) {
        let differs = change.differs(|service| {
            let identity = (&service.uid, &service.controller, service.deleting);
            (identity, (**service).clone())
        });
        if let (true, Some(service)) = (differs, change.latest()) {
            self.push_function(Key::new(&*service.namespace, &*service.name));
        }
    }

    pub(crate) fn config_map_changed(&self, change: &Change<ObservedConfigMap>) {
        let differs = change.differs(|config_map| (&config_map.uid, &config_map.resource_version));
        if let (true, Some(config_map)) = (differs, change.latest()) {
            let key = Key::new(&*config_map.namespace, &*config_map.name);
            for function in self.functions.indexed(&Index::Source(key.clone())) {
                self.function_queue.push(Key::of(&*function));
            }
            self.push_revision(key);
        }
    }

    pub(crate) fn pod_changed(&self, change: &Change<ObservedPod>) {
        if change.differs(|pod| (&pod.uid, pod.deleting, (**pod).clone()))
            && let Some(pod) = change.latest()
        {
            for revision in pod_revision(pod).into_iter().chain(pod_build(pod)) {
                self.push_revision(revision);
            }
        }
    }

    pub(crate) fn job_changed(&self, change: &Change<ObservedJob>) {
        if change.differs(|job| (&job.uid, &job.controller, job.deleting, (**job).clone()))
            && let Some(job) = change.latest()
        {
            self.push_revision(Key::new(&*job.namespace, &*job.revision));
        }
    }

    pub(crate) fn runtime_changed(&self, change: &Change<Runtime>) {
        if change.differs(|runtime| &runtime.spec)
            && let Some(runtime) = change.latest()
        {
            let term = Index::Runtime(runtime.name_any());
            for function in self.functions.indexed(&term) {
                self.function_queue.push(Key::of(&*function));
            }
        }
    }

    fn push_function(&self, key: Key) {
        if self.functions.get(&key).is_some() {
            self.function_queue.push(key);
        }
    }

    fn push_revision(&self, key: Key) {
        if self.revisions.get(&key).is_some() {
            self.revision_queue.push(key);
        }
    }
}

/// The Function a Revision belongs to.
pub(crate) fn function_of(revision: &Revision) -> Key {
    Key::new(
        revision.namespace().unwrap_or_default(),
        &*revision.spec.function_name,
    )
}

fn pod_revision(pod: &ObservedPod) -> Option<Key> {
    let revision = pod.revision.as_deref()?;
    Some(Key::new(&*pod.namespace, revision))
}

/// The Revision whose build the pod is of.
fn pod_build(pod: &ObservedPod) -> Option<Key> {
    let build = pod.build.as_ref()?;
    Some(Key::new(&*pod.namespace, &*build.revision))
}

fn pod_terms(pod: &ObservedPod) -> Vec<Index> {
    let revision = pod_revision(pod).map(Index::Revision);
    let build = pod_build(pod).map(Index::Build);
    revision.into_iter().chain(build).collect()
}

fn revision_terms(revision: &Revision) -> Vec<Index> {
    let mut terms = vec![Index::Function(function_of(revision))];
    let build = revision
        .status
        .as_ref()
        .and_then(|status| status.build.as_ref());
    if let Some(build) = build.filter(|build| build.image.is_some() && build.dependencies.is_some())
    {
        let key = Key::of(revision).sibling(&*build.key);
        terms.push(Index::Layer(key));
    }
    terms
}

fn function_terms(function: &Function) -> Vec<Index> {
    let mut terms: Vec<Index> = routes::claims(function)
        .into_iter()
        .map(Index::Claim)
        .collect();
    if let Some(source) = &function.spec.template.source {
        terms.push(Index::Runtime(source.runtime.clone()));
        if let Some(config_map) = &source.config_map {
            let key = Key::of(function).sibling(&*config_map.name);
            terms.push(Index::Source(key));
        }
    }
    terms
}

/// What of an object the operator acts on, besides its status.
fn identity<K: Resource>(object: &K) -> impl PartialEq + use<K> {
    let meta = object.meta();
    (
        meta.uid.clone(),
        meta.generation,
        meta.labels.clone(),
        Inherited::of(object),
        object.annotations().get(names::BUILD_ANNOTATION).cloned(),
        object.annotations().get(names::LOOK_ANNOTATION).cloned(),
        meta.owner_references.clone(),
        meta.deletion_timestamp.is_some(),
    )
}

/// The part of a Function's status that is the operator's.
fn own(status: &Option<FunctionStatus>) -> Option<FunctionStatus> {
    status.as_ref().map(FunctionStatus::of_operator)
}

#[cfg(test)]
mod tests;
