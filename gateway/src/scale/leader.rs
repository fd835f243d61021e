//! Which gateway scales: the one that holds the Lease.
//!
//! The usual rules of Kubernetes leader election. A lease that others hold is taken when it has not
//! been renewed for its whole duration, by this gateway's own clock; writes carry the
//! resourceVersion, so of two that try only one succeeds. Holding is a claim with an end: whoever
//! wants to act asks [`Leader::leads`] at that moment, and a gateway that cannot renew stops acting
//! before another begins.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, api::PostParams};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::sync::lock;

/// Name of the Lease.
const NAME: &str = "fermata-gateway";

/// How long a claim lasts without being renewed.
const DURATION: Duration = Duration::from_secs(15);

/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(5);

/// How often one that others hold is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long one call of the API may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether this gateway is the one that scales.
#[derive(Clone, Debug)]
pub struct Leader(Claim);

#[derive(Clone, Debug)]
enum Claim {
    /// There are no others.
    Always,
    /// Until then, unless it is renewed.
    Until(Arc<Mutex<Option<Instant>>>),
}

/// One gateway's election.
struct Election {
    leases: Api<Lease>,
    identity: String,
    until: Arc<Mutex<Option<Instant>>>,
    /// The lease as it was when it last changed, and when that was seen.
    seen: Option<(String, Instant)>,
}

// === impl Leader ===

impl Leader {
    /// A gateway without others.
    #[must_use]
    pub fn always() -> Self {
        Self(Claim::Always)
    }

    /// Whether this gateway may act at this moment.
    #[must_use]
    pub fn leads(&self) -> bool {
        match &self.0 {
            Claim::Always => true,
            Claim::Until(until) => lock(until).is_some_and(|until| Instant::now() < until),
        }
    }

    /// A gateway among others, and the work of winning and keeping the lease, which lasts until
    /// `stop` and then gives the lease back.
    pub fn elected(
        client: Client,
        namespace: &str,
        identity: String,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let until = Arc::new(Mutex::new(None));
        let election = Election {
            leases: Api::namespaced(client, namespace),
            identity,
            until: until.clone(),
            seen: None,
        };
        (Self(Claim::Until(until)), election.run(stop))
    }
}

// === impl Election ===

impl Election {
    async fn run(mut self, stop: CancellationToken) {
        let mut led = false;
        loop {
            let pause = match tokio::time::timeout(CALL_TIMEOUT, self.round()).await {
                Ok(Ok(true)) => RENEW_EVERY,
                Ok(Ok(false)) => LOOK_EVERY,
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "cannot read or write the lease; trying again");
                    LOOK_EVERY
                }
                Err(_elapsed) => {
                    tracing::warn!("no answer about the lease; trying again");
                    LOOK_EVERY
                }
            };
            let leads = lock(&self.until).is_some_and(|until| Instant::now() < until);
            if leads != led {
                tracing::info!(identity = self.identity, leads, "leadership changed");
                led = leads;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => break,
            }
        }
        if led
            && tokio::time::timeout(CALL_TIMEOUT, self.release())
                .await
                .is_err()
        {
            tracing::debug!("lease not given back in time; it runs out by itself");
        }
    }

    /// Renews the lease, or takes it if it is free; whether this gateway holds it now.
    async fn round(&mut self) -> kube::Result<bool> {
        // The claim counts from before the question: the answer may have taken long.
        let asked = Instant::now();
        let Some(lease) = self.leases.get_opt(NAME).await? else {
            let lease = self.lease(Lease::default(), true);
            let written = self.leases.create(&PostParams::default(), &lease).await;
            return self.written(asked, written);
        };
        let holder = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_deref());
        let mine = holder == Some(&*self.identity);
        let free = holder.is_none_or(str::is_empty);
        if !(mine || free || self.has_run_out(&lease, asked)) {
            *lock(&self.until) = None;
            return Ok(false);
        }
        let lease = self.lease(lease, !mine);
        let written = self
            .leases
            .replace(NAME, &PostParams::default(), &lease)
            .await;
        self.written(asked, written)
    }

    /// Whether the lease has not changed for its whole duration.
    fn has_run_out(&mut self, lease: &Lease, now: Instant) -> bool {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let duration = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.lease_duration_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(DURATION, Duration::from_secs);
        match &self.seen {
            Some((known, since)) if *known == version => now >= *since + duration,
            _ => {
                self.seen = Some((version, now));
                false
            }
        }
    }

    fn written(&mut self, asked: Instant, written: kube::Result<Lease>) -> kube::Result<bool> {
        match written {
            Ok(_) => {
                *lock(&self.until) = Some(asked + DURATION);
                Ok(true)
            }
            // Somebody else was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn lease(&self, mut lease: Lease, taken: bool) -> Lease {
        let now = MicroTime(Timestamp::now());
        lease.metadata.name = Some(NAME.to_owned());
        lease.metadata.managed_fields = None;
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
        spec.renew_time = Some(now.clone());
        if taken {
            spec.acquire_time = Some(now);
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
        }
        lease
    }

    /// Lets the next one begin at once.
    async fn release(&mut self) {
        *lock(&self.until) = None;
        let Ok(Some(mut lease)) = self.leases.get_opt(NAME).await else {
            return;
        };
        let Some(spec) = &mut lease.spec else { return };
        if spec.holder_identity.as_deref() != Some(&*self.identity) {
            return;
        }
        spec.holder_identity = Some(String::new());
        lease.metadata.managed_fields = None;
        if let Err(error) = self
            .leases
            .replace(NAME, &PostParams::default(), &lease)
            .await
        {
            tracing::debug!(%error, "lease not given back; it runs out by itself");
        }
    }
}
