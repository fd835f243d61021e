//! What the cluster says about one Revision, and which instances follow from it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    backend::{
        deployment::DeploymentState,
        endpoint::{Endpoint, LastProbe},
        pod::PodState,
        revision::Endpoints,
        settings::{Check, Settings},
    },
    clock::{self, Micros},
    failure::Wait,
};

/// What the cluster says about one Revision.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// Its Deployment; `None` until it was seen.
    pub(crate) deployment: Option<DeploymentState>,
    /// Its pods, in the order they were first seen.
    pub(crate) pods: Vec<TrackedPod>,
    /// How many requests of other gateways run on which pods.
    pub(crate) foreign: HashMap<Box<str>, u32>,
}

/// A pod and the instance in it.
#[derive(Debug)]
pub(crate) struct TrackedPod {
    /// What the cluster says.
    pub(crate) state: PodState,
    /// The instance, once its address is known.
    pub(crate) endpoint: Option<Arc<Endpoint>>,
    /// Whether the instance has shown that it takes requests.
    pub(crate) usable: bool,
    /// Whether that is being found out.
    probing: bool,
    /// When it was first seen to be deleted.
    terminating_since: Option<Micros>,
}

// === impl Observed ===

impl Observed {
    /// Replicas that are asked for; `None` while the Deployment is unknown.
    #[must_use]
    pub(crate) fn replicas(&self) -> Option<u32> {
        self.deployment
            .as_ref()
            .map(|deployment| deployment.replicas)
    }

    /// Pods that are neither going nor gone.
    pub(crate) fn live(&self) -> impl Iterator<Item = &TrackedPod> {
        self.pods
            .iter()
            .filter(|pod| !pod.state.terminating && !pod.state.ended)
    }

    /// Pods that take requests.
    #[must_use]
    pub(crate) fn ready(&self) -> u32 {
        let ready = self.live().filter(|pod| pod.usable).count();
        u32::try_from(ready).unwrap_or(u32::MAX)
    }

    /// What requests wait for while no instance takes one.
    #[must_use]
    pub(crate) fn wait(&self) -> Wait {
        let mut wait = Wait::Pods;
        for pod in self.live() {
            if pod.usable {
                return Wait::Free;
            }
            let endpoint = pod.endpoint.as_ref();
            if pod.state.needs_ready && !pod.state.ready && endpoint.is_some() {
                wait = Wait::Ready;
            } else if let Some(endpoint) = endpoint {
                wait = match endpoint.last_probe() {
                    LastProbe::None => wait,
                    LastProbe::NoConnection => Wait::Listening(endpoint.address().port()),
                    LastProbe::Refused => Wait::Ready,
                };
            }
        }
        wait
    }

    /// Takes over a pod's state; returns the instance if it has to be probed.
    pub(super) fn set_pod(&mut self, pod: PodState, settings: &Settings) -> Option<Arc<Endpoint>> {
        let index = self
            .pods
            .iter()
            .position(|known| known.state.name == pod.name);
        let index = index.unwrap_or_else(|| {
            self.pods.push(TrackedPod::new(pod.clone()));
            self.pods.len() - 1
        });
        let probe = self.pods.get_mut(index)?.update(pod, settings);
        self.count_foreign();
        probe
    }

    /// Takes over how many requests of other gateways run on which pods.
    pub(super) fn set_foreign(&mut self, foreign: HashMap<Box<str>, u32>) {
        self.foreign = foreign;
        self.count_foreign();
    }

    fn count_foreign(&self) {
        for pod in &self.pods {
            if let Some(endpoint) = &pod.endpoint {
                let foreign = self.foreign.get(&pod.state.name);
                endpoint.set_foreign(foreign.copied().unwrap_or(0));
            }
        }
    }

    /// Forgets a pod.
    pub(super) fn remove_pod(&mut self, name: &str) {
        self.pods.retain(|pod| {
            let stays = &*pod.state.name != name;
            if !stays && let Some(endpoint) = &pod.endpoint {
                endpoint.set_gone();
            }
            stays
        });
    }

    pub(super) fn set_usable(&mut self, endpoint: &Arc<Endpoint>) {
        if let Some(pod) = self.pod_of(endpoint) {
            pod.usable = true;
            pod.probing = false;
        }
    }

    /// Marks the instance as being probed; false if it is already, or cannot be.
    pub(super) fn begin_probe_of(&mut self, endpoint: &Arc<Endpoint>) -> bool {
        self.pod_of(endpoint)
            .is_some_and(|pod| !std::mem::replace(&mut pod.probing, true))
    }

    fn pod_of(&mut self, endpoint: &Arc<Endpoint>) -> Option<&mut TrackedPod> {
        self.pods.iter_mut().find(|pod| {
            pod.endpoint
                .as_ref()
                .is_some_and(|known| Arc::ptr_eq(known, endpoint))
        })
    }

    /// The instances that get requests.
    pub(super) fn endpoints(&self, now: Micros) -> Endpoints {
        let usable = || {
            self.pods
                .iter()
                .filter(|pod| pod.usable && !pod.state.ended)
        };
        let collect = |leaving: bool| {
            usable()
                .filter(|pod| pod.is_leaving() == leaving && !pod.is_past_lingering(now))
                .filter_map(|pod| pod.endpoint.clone())
                .collect()
        };
        Endpoints {
            serving: collect(false),
            leaving: collect(true),
        }
    }
}

// === impl TrackedPod ===

impl TrackedPod {
    pub(crate) fn new(state: PodState) -> Self {
        Self {
            state,
            endpoint: None,
            usable: false,
            probing: false,
            terminating_since: None,
        }
    }

    /// Requests on the instance through this gateway.
    #[must_use]
    pub(crate) fn in_flight(&self) -> u32 {
        self.endpoint
            .as_ref()
            .map_or(0, |endpoint| endpoint.in_flight())
    }

    /// Whether it gets requests only if there is no other.
    fn is_leaving(&self) -> bool {
        self.state.draining || self.state.terminating
    }

    /// Whether its process may have been told to stop: a second before the preStop sleep ends.
    fn is_past_lingering(&self, now: Micros) -> bool {
        self.terminating_since.is_some_and(|since| {
            let linger = u64::from(self.state.linger_seconds.saturating_sub(1));
            now >= since + clock::micros(Duration::from_secs(linger))
        })
    }

    fn update(&mut self, new: PodState, settings: &Settings) -> Option<Arc<Endpoint>> {
        let replaced = self.state.uid != new.uid || self.state.address != new.address;
        if replaced && let Some(old) = self.endpoint.take() {
            old.set_gone();
            self.usable = false;
            self.probing = false;
        }
        let fell = self.state.ready && !new.ready;
        let restarted = self.state.restarts < new.restarts;
        if fell || restarted {
            self.usable = false;
        }
        if new.terminating && self.terminating_since.is_none() {
            self.terminating_since = Some(clock::now());
        }
        self.state = new;
        let address = self.state.address?;
        let endpoint = self
            .endpoint
            .get_or_insert_with(|| Endpoint::new(&self.state.name, address))
            .clone();
        endpoint.set_draining(self.state.draining);
        let cluster_decides = self.state.needs_ready || settings.checks.contains(&Check::Cluster);
        if cluster_decides && !self.state.ready {
            return None;
        }
        let probe = !self.usable && !self.probing && !self.state.terminating && !self.state.ended;
        self.probing |= probe;
        probe.then_some(endpoint)
    }
}
