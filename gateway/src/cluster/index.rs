//! Puts the watched objects together: from events of four kinds to handles, roles and routes.
//!
//! Plain data and no I/O. Events may come in any order: what is known of a Revision's pods before
//! the Revision itself is kept until it shows up. Work per event does not grow with the number of
//! functions; only the routing table is built anew, and that at most once per batch of events.

mod claims;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use fermata_crds as crds;
use fermata_crds::routes::{Claim, ClaimPolicy};
use fermata_daemon::watch::{Key, Names};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::ResourceExt;

use crate::{
    backend::{
        deployment::DeploymentState,
        endpoint::Endpoint,
        function::{Function, Share, Traffic},
        function_facts::FunctionFacts,
        pod::PodState,
        registry::Registry,
        revision::Revision,
        role::Role,
        router::{NamedFunction, Router},
        scale_settings::ScaleSettings,
        settings::Settings,
    },
    options::OwnPath,
};

use claims::Claims;

/// Everything the gateway knows of the cluster.
#[derive(Debug)]
pub(crate) struct ClusterIndex {
    registry: Arc<Registry>,
    policy: ClaimPolicy,
    own_paths: Vec<OwnPath>,
    functions: HashMap<Key, FunctionRecord>,
    revisions: HashMap<Key, RevisionRecord>,
    /// Names of the Revisions of a Function.
    children: HashMap<Key, BTreeSet<Box<str>>>,
    /// The Revision of each pod, and the address by which it calls others.
    pods: HashMap<Key, (Key, Option<IpAddr>)>,
    /// What is known of Revisions that have not shown up.
    early: HashMap<Key, Early>,
    claims: Claims,
    routes_changed: bool,
    unprobed: Vec<Unprobed>,
}

/// An instance that has to show that it takes requests before it gets any.
#[derive(Debug)]
pub(crate) struct Unprobed {
    /// Its Revision.
    pub(crate) revision: Arc<Revision>,
    /// The instance.
    pub(crate) endpoint: Arc<Endpoint>,
}

#[derive(Debug)]
struct FunctionRecord {
    handle: Arc<Function>,
    facts: FunctionFacts,
}

#[derive(Debug)]
struct RevisionRecord {
    handle: Arc<Revision>,
    uid: Box<str>,
    has_been_ready: bool,
}

#[derive(Debug, Default)]
struct Early {
    deployment: Option<DeploymentState>,
    pods: BTreeMap<Box<str>, PodState>,
}

// === impl ClusterIndex ===

impl ClusterIndex {
    /// An empty index that publishes to the registry. Of what Functions claim they get what the policy
    /// allows.
    #[must_use]
    pub(crate) fn new(registry: Arc<Registry>, policy: ClaimPolicy) -> Self {
        Self {
            registry,
            policy,
            own_paths: Vec::new(),
            functions: HashMap::new(),
            revisions: HashMap::new(),
            children: HashMap::new(),
            pods: HashMap::new(),
            early: HashMap::new(),
            claims: Claims::default(),
            routes_changed: false,
            unprobed: Vec::new(),
        }
    }

    /// The same, with functions that answer below paths of the gateway itself.
    #[must_use]
    pub(crate) fn with_own_paths(self, own_paths: Vec<OwnPath>) -> Self {
        Self { own_paths, ..self }
    }

    /// The instances that the events since the last call made it necessary to probe.
    pub(crate) fn take_unprobed(&mut self) -> Vec<Unprobed> {
        std::mem::take(&mut self.unprobed)
    }

    /// Whether the routing table is behind.
    #[must_use]
    pub(crate) fn routes_changed(&self) -> bool {
        self.routes_changed
    }

    /// Functions are not watched at this moment.
    pub(crate) fn functions_broke(&self) {
        self.registry.functions_broke();
    }

    /// Builds the routing table anew and publishes it.
    pub(crate) fn publish_routes(&mut self) {
        let mut router = Router::new(self.policy.domain(), self.policy.cluster_domain());
        for (key, record) in &self.functions {
            // What answers below a path of the gateway itself answers nowhere else.
            if self.own_paths.iter().any(|own| own.is_of(key)) {
                continue;
            }
            let target = NamedFunction {
                function: record.handle.clone(),
                cluster_only: record.facts.cluster_only,
            };
            router.add_name(&key.namespace, &key.name, target);
        }
        for (claim, owner) in self.claims.owners() {
            let Some(record) = self.functions.get(&Key::new(&owner.namespace, &owner.name)) else {
                continue;
            };
            match claim {
                Claim::Host(host) => router.add_host(host, record.handle.clone()),
                Claim::Path(path) => router.add_path(path, record.handle.clone()),
            }
        }
        for own in &self.own_paths {
            if let Some(record) = self.functions.get(&Key::new(&own.namespace, &own.name)) {
                router.add_path(&own.path, record.handle.clone());
            }
        }
        self.registry.set_routes(router);
        self.routes_changed = false;
    }

    // --- functions ---

    /// A Function is there, or is different.
    pub(crate) fn apply_function(&mut self, function: &crds::Function) {
        let key = Key::of(function);
        let uid = function.uid().unwrap_or_default();
        let facts = FunctionFacts::of(function, &self.policy);
        let known = self.functions.get(&key);
        let same_object = known.is_some_and(|record| record.handle.uid() == uid);
        if known.is_some_and(|record| same_object && record.facts == facts) {
            return;
        }
        let same_routes = known.is_some_and(|record| {
            record.facts.claims == facts.claims && record.facts.cluster_only == facts.cluster_only
        });
        if !(same_object && same_routes) {
            self.drop_claims(&key);
            if let Some((claimant, claims)) = facts.claims.as_deref() {
                self.claims.add(claimant, claims);
            }
            self.routes_changed = true;
        }
        let handle = match self.functions.get(&key) {
            Some(record) if same_object => record.handle.clone(),
            _ => Function::new(key.clone(), &uid, unknown(&facts)),
        };
        self.registry.set_triggers(&key, facts.triggers.clone());
        self.registry.set_delivery(&key, facts.delivery.clone());
        // What answers below a path of the gateway itself has no name by which a message could come.
        let is_own = self.own_paths.iter().any(|own| own.is_of(&key));
        let heard = facts.heard.as_deref().filter(|_| !is_own);
        self.registry.topics().set(&key, heard);
        self.registry.set_function(&key, Some(handle.clone()));
        self.functions
            .insert(key.clone(), FunctionRecord { handle, facts });
        self.settle(&key);
    }

    /// A Function is gone.
    pub(crate) fn delete_function(&mut self, key: &Key) {
        self.registry.set_triggers(key, None);
        self.registry.set_delivery(key, None);
        self.registry.topics().set(key, None);
        self.drop_claims(key);
        if let Some(record) = self.functions.remove(key) {
            record
                .handle
                .set_traffic(Traffic::Failed("the function was deleted".into()));
            self.registry.set_function(key, None);
            self.routes_changed = true;
        }
        self.settle(key);
    }

    fn drop_claims(&mut self, key: &Key) {
        let record = self.functions.get(key);
        if let Some((claimant, claims)) = record.and_then(|record| record.facts.claims.as_deref()) {
            self.claims.remove(claimant, claims);
        }
    }

    /// Brings the roles of a Function's Revisions and its traffic up to date.
    fn settle(&mut self, key: &Key) {
        let record = self.functions.get(key);
        let facts = record.map(|record| &record.facts);
        for name in self.children.get(key).into_iter().flatten() {
            if let Some(revision) = self.revisions.get(&key.sibling(name)) {
                let role = Role::of(facts, name, revision.has_been_ready);
                revision.handle.set_role(role);
            }
        }
        if let Some(record) = record {
            record.handle.set_traffic(self.traffic(key, &record.facts));
        }
    }

    /// Where the Function's requests go. While nothing serves, they go to the newest Revision and
    /// wait there: it gets them as soon as it can take them.
    fn traffic(&self, key: &Key, facts: &FunctionFacts) -> Traffic {
        let handle = |name: &str| {
            let record = self.revisions.get(&key.sibling(name))?;
            Some(record.handle.clone())
        };
        let shares: Box<[Share]> = facts
            .traffic
            .iter()
            .filter(|target| target.percent > 0)
            .filter_map(|target| {
                Some(Share {
                    revision: handle(&target.revision)?,
                    percent: target.percent,
                })
            })
            .collect();
        if !shares.is_empty() {
            return Traffic::To(shares);
        }
        if !facts.traffic.is_empty() {
            return unknown(facts);
        }
        let newest = facts.latest_created.as_deref().and_then(handle);
        match (newest, &facts.failure) {
            (Some(revision), _) => Traffic::To(Box::new([Share {
                revision,
                percent: 100,
            }])),
            (None, Some(failure)) => Traffic::Failed(failure.clone()),
            (None, None) => unknown(facts),
        }
    }

    // --- revisions ---

    /// A Revision is there, or is different.
    pub(crate) fn apply_revision(&mut self, revision: &crds::Revision) {
        let key = Key::of(revision);
        let uid = revision.uid().unwrap_or_default();
        let concurrency = revision.spec.template.concurrency();
        let scale = ScaleSettings::of(&revision.spec.scale(), concurrency);
        let has_been_ready = revision
            .status
            .as_ref()
            .is_some_and(|status| status.has_been_ready);
        if self
            .revisions
            .get(&key)
            .is_some_and(|known| *known.uid != *uid)
        {
            self.delete_revision(&key);
        }
        let function = key.sibling(&revision.spec.function_name);
        if let Some(known) = self.revisions.get_mut(&key) {
            known.has_been_ready = has_been_ready;
            known.handle.set_scale(scale);
        } else {
            let handle = Revision::new(key.clone(), &function.name, Settings::of(revision), scale);
            self.adopt(&key, &handle);
            self.registry.set_revision(&key, Some(handle.clone()));
            self.children
                .entry(function.clone())
                .or_default()
                .insert(key.name.clone());
            self.revisions.insert(
                key,
                RevisionRecord {
                    handle,
                    uid: uid.into(),
                    has_been_ready,
                },
            );
        }
        self.settle(&function);
    }

    fn prove(&mut self, revision: &Arc<Revision>, endpoint: Option<Arc<Endpoint>>) {
        self.unprobed.extend(endpoint.map(|endpoint| Unprobed {
            revision: revision.clone(),
            endpoint,
        }));
    }

    /// Gives a Revision what was known before it.
    fn adopt(&mut self, key: &Key, handle: &Arc<Revision>) {
        let Some(early) = self.early.remove(key) else {
            return;
        };
        Revision::set_deployment(handle, early.deployment);
        for pod in early.pods.into_values() {
            let endpoint = Revision::set_pod(handle, pod);
            self.prove(handle, endpoint);
        }
    }

    /// A Revision is gone. What is known of its pods stays until they are gone too.
    pub(crate) fn delete_revision(&mut self, key: &Key) {
        let Some(record) = self.revisions.remove(key) else {
            return;
        };
        self.registry.set_revision(key, None);
        let (deployment, pods) = record.handle.observe(|observed| {
            let pods = observed.pods.iter().map(|pod| pod.state.clone());
            let pods = pods.map(|pod| (pod.name.clone(), pod)).collect();
            (observed.deployment.clone(), pods)
        });
        self.keep_early(key, Early { deployment, pods });
        record.handle.set_role(Role::Retired);
        let function = key.sibling(record.handle.function());
        if let Some(children) = self.children.get_mut(&function) {
            children.remove(&key.name);
            if children.is_empty() {
                self.children.remove(&function);
            }
        }
        self.settle(&function);
    }

    fn keep_early(&mut self, key: &Key, early: Early) {
        if early.deployment.is_none() && early.pods.is_empty() {
            self.early.remove(key);
        } else {
            self.early.insert(key.clone(), early);
        }
    }

    // --- deployments ---

    /// A Deployment is there, or is different. It has the name of its Revision.
    pub(crate) fn apply_deployment(&mut self, deployment: &Deployment) {
        let key = Key::of(deployment);
        let state = DeploymentState::of(deployment);
        match self.revisions.get(&key) {
            Some(record) => Revision::set_deployment(&record.handle, Some(state)),
            None => self.early.entry(key).or_default().deployment = Some(state),
        }
    }

    /// A Deployment is gone.
    pub(crate) fn delete_deployment(&mut self, key: &Key) {
        if let Some(record) = self.revisions.get(key) {
            Revision::set_deployment(&record.handle, None);
        } else if let Some(mut early) = self.early.remove(key) {
            early.deployment = None;
            self.keep_early(key, early);
        }
    }

    // --- pods ---

    /// A pod is there, or is different.
    pub(crate) fn apply_pod(&mut self, pod: &Pod) {
        let key = Key::of(pod);
        let Some((revision, state)) = PodState::of(pod) else {
            return self.delete_pod(&key);
        };
        let revision = key.sibling(&revision);
        let known = self.pods.get(&key);
        if known.is_some_and(|(known, _)| *known != revision) {
            self.delete_pod(&key);
        }
        let calls_from = state.calls_from;
        match self.revisions.get(&revision) {
            Some(record) => {
                let handle = record.handle.clone();
                let endpoint = Revision::set_pod(&handle, state);
                self.prove(&handle, endpoint);
            }
            None => {
                let early = self.early.entry(revision.clone()).or_default();
                early.pods.insert(state.name.clone(), state);
            }
        }
        let namespace = key.namespace.clone();
        let old = self.pods.insert(key, (revision, calls_from));
        let old = old.and_then(|(_, calls_from)| calls_from);
        if old != calls_from {
            if let Some(address) = calls_from {
                self.registry.add_address(address, &namespace);
            }
            if let Some(address) = old {
                self.registry.remove_address(address, &namespace);
            }
        }
    }

    /// A pod is gone.
    pub(crate) fn delete_pod(&mut self, key: &Key) {
        let Some((revision, calls_from)) = self.pods.remove(key) else {
            return;
        };
        if let Some(address) = calls_from {
            self.registry.remove_address(address, &key.namespace);
        }
        if let Some(record) = self.revisions.get(&revision) {
            Revision::remove_pod(&record.handle, &key.name);
        } else if let Some(mut early) = self.early.remove(&revision) {
            early.pods.remove(&key.name);
            self.keep_early(&revision, early);
        }
    }

    // --- after a new list ---

    /// All Functions that are known and that the list lacks are gone; and so below.
    pub(crate) fn keep_functions(&mut self, names: &Names) {
        for key in missing(self.functions.keys(), names) {
            self.delete_function(&key);
        }
    }

    /// See [`ClusterIndex::keep_functions`].
    pub(crate) fn keep_revisions(&mut self, names: &Names) {
        for key in missing(self.revisions.keys(), names) {
            self.delete_revision(&key);
        }
    }

    /// See [`ClusterIndex::keep_functions`].
    pub(crate) fn keep_deployments(&mut self, names: &Names) {
        let known = self.revisions.keys().chain(self.early.keys());
        for key in missing(known, names) {
            self.delete_deployment(&key);
        }
    }

    /// See [`ClusterIndex::keep_functions`].
    pub(crate) fn keep_pods(&mut self, names: &Names) {
        for key in missing(self.pods.keys(), names) {
            self.delete_pod(&key);
        }
    }
}

fn missing<'a>(known: impl Iterator<Item = &'a Key>, names: &Names) -> Vec<Key> {
    known.filter(|key| names.lack(key)).cloned().collect()
}

fn unknown(facts: &FunctionFacts) -> Traffic {
    Traffic::Unknown {
        start_timeout: facts.start_timeout,
        queue: facts.queue,
    }
}

#[cfg(test)]
mod tests;
