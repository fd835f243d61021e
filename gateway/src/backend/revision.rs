//! The handle of one Revision: what a request, the activator and the autoscaler share.

pub(crate) mod fatal;
mod handover;
mod observed;
pub(crate) mod permit;

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use fermata_daemon::watch::Key;
use jiff::Timestamp;
use tokio::sync::Notify;

use handover::{UNCONTENDED, YIELDED};
pub(crate) use observed::Observed;
#[cfg(test)]
pub(crate) use observed::TrackedPod;

use crate::{
    backend::{
        deployment::DeploymentState,
        endpoint::Endpoint,
        load::{Load, Sample},
        pick::pick,
        pod::PodState,
        queue::{Queue, Refusal},
        revision::{fatal::fatal_reason, permit::Permit},
        role::Role,
        scale_settings::ScaleSettings,
        settings::Settings,
    },
    clock::{self, Micros},
    sync::lock,
};

/// One Revision.
#[derive(Debug)]
pub(crate) struct Revision {
    key: Key,
    function: Box<str>,
    settings: Settings,
    scale: ArcSwap<ScaleSettings>,
    role: AtomicU8,
    endpoints: ArcSwap<Endpoints>,
    /// Requests that wait for an instance.
    pub(crate) queue: Queue<Permit>,
    load: Load,
    arrivals: AtomicU64,
    last_active: AtomicU64,
    observed: Mutex<Observed>,
    /// Notifies of a change of the observed state, the queue or the role. One task listens.
    pub(crate) changed: Notify,
    /// Whether the activator looks after the queue.
    pub(crate) activating: AtomicBool,
    failure: Mutex<Option<Arc<str>>>,
    /// In which epoch of the gateways this one took it over; see [`Revision::is_held`].
    held: AtomicU64,
    /// Who has taken it over, and in which epoch.
    yielded: Mutex<Option<(IpAddr, u64)>>,
    /// Whose turn it is to take it over.
    pub(crate) takeover: tokio::sync::Mutex<()>,
}

/// The instances that take requests.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    /// Those that should.
    pub(crate) serving: Box<[Arc<Endpoint>]>,
    /// Those that are about to go, for when there is no other.
    pub(crate) leaving: Box<[Arc<Endpoint>]>,
}

// === impl Revision ===

impl Revision {
    /// A Revision without instances.
    #[must_use]
    pub(crate) fn new(
        key: Key,
        function: &str,
        settings: Settings,
        scale: ScaleSettings,
    ) -> Arc<Self> {
        Arc::new(Self {
            key,
            function: function.into(),
            settings,
            scale: ArcSwap::from_pointee(scale),
            role: AtomicU8::new(Role::Pending as u8),
            endpoints: ArcSwap::default(),
            queue: Queue::default(),
            load: Load::default(),
            arrivals: AtomicU64::new(0),
            last_active: AtomicU64::new(0),
            observed: Mutex::default(),
            changed: Notify::new(),
            activating: AtomicBool::new(false),
            failure: Mutex::default(),
            held: AtomicU64::new(UNCONTENDED),
            yielded: Mutex::default(),
            takeover: tokio::sync::Mutex::default(),
        })
    }

    /// Namespace and name.
    #[must_use]
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Name of its Function.
    #[must_use]
    pub(crate) fn function(&self) -> &str {
        &self.function
    }

    /// What never changes in it.
    #[must_use]
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How it is scaled.
    #[must_use]
    pub(crate) fn scale(&self) -> Arc<ScaleSettings> {
        self.scale.load_full()
    }

    /// Takes over changed scale settings.
    pub(crate) fn set_scale(&self, scale: ScaleSettings) {
        if **self.scale.load() != scale {
            self.scale.store(Arc::new(scale));
            self.changed.notify_one();
        }
    }

    /// What it is to its Function.
    #[must_use]
    pub(crate) fn role(&self) -> Role {
        Role::from_number(self.role.load(Ordering::Relaxed))
    }

    /// Takes over its role. Requests that wait at one that is retired go to where the traffic is
    /// now.
    pub(crate) fn set_role(&self, role: Role) {
        let old = self.role.swap(role as u8, Ordering::Relaxed);
        if role == Role::Retired && old != role as u8 {
            self.queue.refuse_all(&Refusal::Moved);
        }
    }

    // --- load ---

    /// A request comes, to wait or to run.
    pub(crate) fn arrive(&self, now: Micros) {
        self.load.enter(now);
        self.arrivals.fetch_add(1, Ordering::Relaxed);
    }

    /// A request that came is over.
    pub(crate) fn depart(&self, now: Micros) {
        self.load.exit(now);
        self.last_active.store(now, Ordering::Relaxed);
    }

    /// Requests that wait or run.
    #[must_use]
    pub(crate) fn active(&self) -> u32 {
        self.load.active()
    }

    /// How busy it is, for the autoscaler.
    #[must_use]
    pub(crate) fn load(&self, now: Micros) -> Sample {
        self.load.sample(now)
    }

    /// Requests that have come since the gateway started.
    #[must_use]
    pub(crate) fn arrivals(&self) -> u64 {
        self.arrivals.load(Ordering::Relaxed)
    }

    /// Whether a request was here within the given time.
    #[must_use]
    pub(crate) fn was_active_within(&self, time: Duration, now: Micros) -> bool {
        let last = self.last_active.load(Ordering::Relaxed);
        self.active() > 0 || (last > 0 && now.saturating_sub(last) <= clock::micros(time))
    }

    // --- instances ---

    /// Whether some instance takes requests.
    #[must_use]
    pub(crate) fn has_endpoints(&self) -> bool {
        let endpoints = self.endpoints.load();
        !(endpoints.serving.is_empty() && endpoints.leaving.is_empty())
    }

    /// Takes a place on an instance; `None` if there is none to take. Instances that are about to
    /// go are chosen only if there are no others at all.
    pub(crate) fn acquire(this: &Arc<Self>) -> Option<Permit> {
        let (limit, now) = (this.settings.concurrency, clock::now());
        // An instance may be marked between the look at the list and the taking; looking again then
        // is enough, because the list changes right after the mark.
        for last_try in [false, false, true] {
            let endpoints = this.endpoints.load();
            let fallback = endpoints.serving.is_empty();
            let endpoint = if fallback {
                pick(&endpoints.leaving, limit, now)?
            } else {
                pick(&endpoints.serving, limit, now)?
            };
            // A place is taken first and this looked at second; see `yield_up`.
            if this.held.load(Ordering::SeqCst) == YIELDED {
                endpoint.leave();
                return None;
            }
            if fallback || last_try || !endpoint.is_draining() {
                return Some(Permit::new(this.clone(), endpoint.clone()));
            }
            endpoint.leave();
        }
        None
    }

    /// Hands free places to waiting requests.
    pub(crate) fn serve_queue(this: &Arc<Self>) {
        this.queue.serve(|| Self::acquire(this));
    }

    /// Looks at the observed state.
    pub(crate) fn observe<T>(&self, look: impl FnOnce(&Observed) -> T) -> T {
        look(&lock(&self.observed))
    }

    /// Takes over what is known of a pod now. Returns the instance if it has to be probed before it gets
    /// requests.
    pub(crate) fn set_pod(this: &Arc<Self>, pod: PodState) -> Option<Arc<Endpoint>> {
        let mut observed = lock(&this.observed);
        let endpoint = observed.set_pod(pod, &this.settings);
        this.publish(&observed);
        drop(observed);
        Self::after_change(this);
        endpoint
    }

    /// Forgets a pod that is no more.
    pub(crate) fn remove_pod(this: &Arc<Self>, name: &str) {
        let mut observed = lock(&this.observed);
        observed.remove_pod(name);
        this.publish(&observed);
        drop(observed);
        Self::after_change(this);
    }

    /// Takes over what is known of the Deployment now.
    pub(crate) fn set_deployment(this: &Arc<Self>, deployment: Option<DeploymentState>) {
        lock(&this.observed).deployment = deployment;
        Self::after_change(this);
    }

    /// The probing of the instance succeeded: it gets requests.
    pub(crate) fn set_usable(this: &Arc<Self>, endpoint: &Arc<Endpoint>) {
        endpoint.eject(0);
        let mut observed = lock(&this.observed);
        observed.set_usable(endpoint);
        this.publish(&observed);
        drop(observed);
        Self::after_change(this);
    }

    /// The instance refused a connection. Returns it if it has to be probed, which it is not yet.
    pub(crate) fn eject(&self, endpoint: &Arc<Endpoint>, until: Micros) -> Option<Arc<Endpoint>> {
        endpoint.eject(until);
        let probe = lock(&self.observed).begin_probe_of(endpoint);
        probe.then(|| endpoint.clone())
    }

    /// The time of an instance that is being deleted is over: it gets no more requests.
    pub(crate) fn refresh(this: &Arc<Self>) {
        let observed = lock(&this.observed);
        this.publish(&observed);
    }

    /// Swaps the lists that requests see. Called under the lock of the observed state, so that the
    /// newest state is also the last one published.
    fn publish(&self, observed: &Observed) {
        let endpoints = observed.endpoints(clock::now());
        let old = self.endpoints.load();
        if old.serving.len() != endpoints.serving.len()
            || old.leaving.len() != endpoints.leaving.len()
            || !same(&old.serving, &endpoints.serving)
            || !same(&old.leaving, &endpoints.leaving)
        {
            self.endpoints.store(Arc::new(endpoints));
        }
    }

    fn after_change(this: &Arc<Self>) {
        // A failure stands as long as its reason does.
        if this.failure().is_some()
            && this
                .observe(|now| fatal_reason(now, Timestamp::now()))
                .is_none()
        {
            this.set_failure(None);
        }
        if this.queue.waiting() > 0 {
            Self::serve_queue(this);
        }
        this.changed.notify_one();
    }

    // --- failure of a start ---

    /// Why a start cannot succeed at present.
    #[must_use]
    pub(crate) fn failure(&self) -> Option<Arc<str>> {
        lock(&self.failure).clone()
    }

    /// Says why a start cannot succeed at present, and sends all waiting requests away; or that
    /// there is no such reason any more.
    pub(crate) fn set_failure(&self, failure: Option<Arc<str>>) {
        lock(&self.failure).clone_from(&failure);
        if let Some(detail) = failure {
            self.queue.refuse_all(&Refusal::StartFailed(detail));
        }
    }

    /// Closes connections that nobody has used for a while.
    pub(crate) fn close_idle_connections(&self, now: Micros) {
        let endpoints = self.endpoints.load();
        for endpoint in endpoints.serving.iter().chain(&endpoints.leaving) {
            endpoint.pool.close_idle(now);
        }
    }
}

fn same(one: &[Arc<Endpoint>], other: &[Arc<Endpoint>]) -> bool {
    one.iter()
        .zip(other)
        .all(|(one, other)| Arc::ptr_eq(one, other))
}
