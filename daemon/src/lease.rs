//! Which of several replicas does the work: leader election by a Lease.
//!
//! The way of client-go: whoever holds the Lease renews it; a Lease that has not changed for its
//! duration, by the watcher's own clock, may be taken over; the API server's optimistic locking
//! lets one of several win (<https://pkg.go.dev/k8s.io/client-go/tools/leaderelection>). The
//! clocks of the replicas need not agree.
//!
//! A [`Claim`] has an end: a replica that cannot renew stops relying on it before another can take
//! over. Ask it at each write.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, ResourceExt as _, api::PostParams};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// How long a Lease is good without being renewed.
const DURATION: Duration = Duration::from_secs(15);

/// How long one call of the API may take.
const CALL: Duration = Duration::from_secs(5);

/// How long the holder relies on a renewal. What is left of the duration is for writes that were
/// begun at the last moment.
const RELIANCE: Duration = DURATION.saturating_sub(CALL);

/// How often the Lease is looked at and renewed.
const PERIOD: Duration = Duration::from_secs(2);

/// Says whether this replica leads at this moment.
#[derive(Clone, Debug)]
pub struct Claim {
    until: watch::Receiver<Validity>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Validity {
    Never,
    Until(Instant),
    Always,
}

/// Acquires and renews the Lease.
pub struct Elector {
    api: Api<Lease>,
    name: &'static str,
    identity: String,
    until: watch::Sender<Validity>,
    observed: Option<Observation>,
}

/// The Lease as it was seen first with its present content.
struct Observation {
    holder: Option<String>,
    renewed: Option<Timestamp>,
    duration: Duration,
    since: Instant,
}

/// What to do about the Lease.
#[derive(Debug, Eq, PartialEq)]
enum Step {
    /// It is ours or free: write our name and the time.
    Take,
    /// Somebody else holds it.
    Wait,
}

// === impl Claim ===

impl Claim {
    /// The claim of a replica that runs alone.
    #[must_use]
    pub fn always() -> Self {
        let (_, until) = watch::channel(Validity::Always);
        Self { until }
    }

    /// Whether this replica leads. The answer is about now: ask again at each write.
    #[must_use]
    pub fn is_current(&self) -> bool {
        match *self.until.borrow() {
            Validity::Never => false,
            Validity::Until(until) => Instant::now() < until,
            Validity::Always => true,
        }
    }

    /// Waits until this replica leads. Cancel safe.
    pub async fn held(&mut self) {
        // An elector that is gone will never lead.
        if self
            .until
            .wait_for(|until| *until != Validity::Never)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until this replica has lost what it held. The end shows in [`Claim::is_current`] at
    /// once, and here within some seconds. Cancel safe.
    pub async fn lost(&mut self) {
        // Without an elector there is nothing to lose.
        if self
            .until
            .wait_for(|until| *until == Validity::Never)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }
}

// === impl Elector ===

impl Elector {
    /// A candidate for the Lease `name` in a namespace, and the claim that tells whether it leads.
    /// `identity` is the candidate's name in the Lease; no other may have it.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        name: &'static str,
        identity: String,
    ) -> (Self, Claim) {
        let (until, receiver) = watch::channel(Validity::Never);
        let elector = Self {
            api: Api::namespaced(client, namespace),
            name,
            identity,
            until,
            observed: None,
        };
        (elector, Claim { until: receiver })
    }

    /// Stands for election until the shutdown, and gives the Lease back then. A replica that loses
    /// the Lease, to another or because it could not be renewed in time, stands again.
    pub async fn run(mut self, shutdown: &CancellationToken) {
        loop {
            let attempt = timeout(CALL, self.attempt());
            match shutdown.run_until_cancelled(attempt).await {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => {
                    warn!(
                        lease = self.name,
                        error = &error as &dyn std::error::Error,
                        "cannot look after the Lease"
                    );
                }
                Some(Err(_)) => warn!(lease = self.name, "no answer about the Lease"),
                None => break,
            }
            let validity = *self.until.borrow();
            let wait = async {
                match validity {
                    // The last moment of the claim must not be slept over.
                    Validity::Until(until) => timeout_at(until, sleep(PERIOD)).await.is_ok(),
                    Validity::Never | Validity::Always => {
                        sleep(PERIOD).await;
                        true
                    }
                }
            };
            match shutdown.run_until_cancelled(wait).await {
                Some(true) => {}
                Some(false) => {
                    warn!(
                        lease = self.name,
                        identity = %self.identity,
                        "this replica leads no more: the Lease could not be renewed in time, or another took it; standing again"
                    );
                    self.until.send_replace(Validity::Never);
                }
                None => break,
            }
        }
        self.release().await;
    }

    /// Looks at the Lease once, and takes or renews it if that is due.
    async fn attempt(&mut self) -> Result<(), kube::Error> {
        let started = Instant::now();
        let Some(lease) = self.api.get_opt(self.name).await? else {
            let mut lease = Lease::default();
            lease.metadata.name = Some(self.name.to_owned());
            lease.spec = Some(self.spec(None));
            return match self.api.create(&PostParams::default(), &lease).await {
                Ok(_) => {
                    self.hold(started);
                    Ok(())
                }
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
                Err(error) => Err(error),
            };
        };
        self.observe(&lease, started);
        let seen = self.observed.as_ref();
        if seen.is_some_and(|seen| step(seen, &self.identity, started) == Step::Wait) {
            if self.leads() {
                // Somebody wrote their name over ours: what was relied on no longer holds.
                self.until.send_replace(Validity::Until(started));
            }
            return Ok(());
        }
        let mut wanted = lease;
        wanted.spec = Some(self.spec(wanted.spec.as_ref()));
        match self
            .api
            .replace(self.name, &PostParams::default(), &wanted)
            .await
        {
            Ok(_) => {
                self.hold(started);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_conflict() => {
                debug!(lease = self.name, "another replica was faster");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Remembers when this content of the Lease was seen first.
    fn observe(&mut self, lease: &Lease, now: Instant) {
        let spec = lease.spec.clone().unwrap_or_default();
        let renewed = spec.renew_time.map(|time| time.0);
        let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
        let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
        let since = self
            .observed
            .take()
            .filter(|seen| seen.holder == holder && seen.renewed == renewed)
            .map_or(now, |seen| seen.since);
        self.observed = Some(Observation {
            holder,
            renewed,
            duration: Duration::from_secs(seconds),
            since,
        });
    }

    fn leads(&self) -> bool {
        *self.until.borrow() != Validity::Never
    }

    /// The reliance counts from before the request, since nobody knows when the answer was made.
    fn hold(&self, started: Instant) {
        if !self.leads() {
            info!(lease = self.name, identity = %self.identity, "this replica leads");
        }
        self.until.send_replace(Validity::Until(started + RELIANCE));
    }

    fn spec(&self, old: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let transitions = old.and_then(|old| old.lease_transitions).unwrap_or(0);
        let held = old.is_some_and(|old| old.holder_identity.as_ref() == Some(&self.identity));
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: match old {
                Some(old) if held => old.acquire_time.clone(),
                _ => Some(now.clone()),
            },
            renew_time: Some(now),
            lease_transitions: Some(if held || old.is_none() {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        }
    }

    /// Gives the Lease back, so that the next replica need not wait it out.
    async fn release(&mut self) {
        if !self.leads() {
            return;
        }
        self.until.send_replace(Validity::Until(Instant::now()));
        let give_back = async {
            let mut lease = self.api.get(self.name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_ref() != Some(&self.identity) {
                return Ok(());
            }
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            let name = lease.name_any();
            self.api
                .replace(&name, &PostParams::default(), &lease)
                .await
                .map(|_| ())
        };
        match timeout(CALL, give_back).await {
            Ok(Ok(())) => debug!(lease = self.name, "gave the Lease back"),
            Ok(Err(error)) => {
                warn!(
                    lease = self.name,
                    error = &error as &dyn std::error::Error,
                    "cannot give the Lease back"
                );
            }
            Err(_) => warn!(lease = self.name, "no answer when giving the Lease back"),
        }
    }
}

/// What the observed Lease allows.
fn step(observation: &Observation, identity: &str, now: Instant) -> Step {
    match &observation.holder {
        None => Step::Take,
        Some(holder) if holder == identity => Step::Take,
        Some(_) if now.duration_since(observation.since) >= observation.duration => Step::Take,
        Some(_) => Step::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(holder: Option<&str>, age: u64) -> (Observation, Instant) {
        let since = Instant::now();
        let observation = Observation {
            holder: holder.map(str::to_owned),
            renewed: None,
            duration: DURATION,
            since,
        };
        (observation, since + Duration::from_secs(age))
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_our_own_or_stale() {
        for (holder, age, expected) in [
            (None, 0, Step::Take),
            (Some("me"), 0, Step::Take),
            (Some("other"), 0, Step::Wait),
            (Some("other"), 14, Step::Wait),
            (Some("other"), 15, Step::Take),
        ] {
            let (observation, now) = observation(holder, age);
            assert_eq!(step(&observation, "me", now), expected, "{holder:?} {age}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_ends_by_itself() {
        let (until, receiver) = watch::channel(Validity::Never);
        let mut claim = Claim { until: receiver };
        assert!(!claim.is_current());
        until.send_replace(Validity::Until(Instant::now() + RELIANCE));
        claim.held().await;
        assert!(claim.is_current());
        tokio::time::advance(RELIANCE).await;
        assert!(!claim.is_current());
    }

    #[tokio::test(start_paused = true)]
    async fn who_runs_alone_loses_nothing() {
        let mut claim = Claim::always();
        claim.held().await;
        let lost = timeout(Duration::from_secs(3600), claim.lost());
        assert!(lost.await.is_err());
        assert!(claim.is_current());
    }
}
