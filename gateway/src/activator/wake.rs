//! Looks after the queue of a Revision while requests wait in it.
//!
//! One task per Revision, however many requests wait: it asks for as many replicas as they need,
//! asks for more when more come, and sends everybody away at once when no start can succeed. Handing
//! out free instances is not its work: whoever makes one free does that.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;
use kube::Client;
use tokio::{runtime::Handle, sync::Notify, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    activator::{
        cold_start::Reporter,
        probe::{self, Job},
    },
    admin::metrics::{Decision, Metrics},
    backend::{
        deployment::DeploymentState,
        endpoint::Endpoint,
        queue::Refusal,
        registry::Registry,
        revision::{Observed, Revision, fatal::fatal_reason},
        role::Role,
        scale_settings::ScaleSettings,
    },
    clock,
    scale::patch,
};

/// Between two requests for more replicas, so that a burst makes a few growing ones and not one per
/// request.
const GROW_PAUSE: Duration = Duration::from_millis(100);

/// The first pause after a scale that could not be written; it doubles each time.
const FIRST_RETRY: Duration = Duration::from_millis(100);

/// The longest such pause.
const LAST_RETRY: Duration = Duration::from_secs(5);

/// How often it looks without being told to.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long an instance that refused a connection is last in line, unless it is found to take
/// connections again before.
const EJECTION: Duration = Duration::from_secs(1);

/// Wakes Revisions.
#[derive(Debug)]
pub(crate) struct Activator(Arc<Shared>);

struct Shared {
    client: Client,
    /// Where the tasks run: not where requests are served.
    runtime: Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
    reporter: Reporter,
    metrics: Arc<Metrics>,
    registry: Arc<Registry>,
    /// Makes the autoscaler decide at once.
    rescale_now: Arc<Notify>,
}

/// What to do for the requests that wait.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Step {
    /// Nothing but wait: instances are starting, or busy.
    Wait,
    /// Ask for replicas.
    Ask {
        seen: DeploymentState,
        replicas: u32,
    },
    /// Send them where the traffic is now.
    SendOn,
    /// Tell them that there is no hope.
    Refuse(String),
}

// === impl Activator ===

impl Activator {
    /// An activator. Its tasks run on `runtime`, end with `stop` and belong to `tasks`.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "each is a part of another kind")]
    pub(crate) fn new(
        client: Client,
        runtime: Handle,
        tasks: TaskTracker,
        stop: CancellationToken,
        reporter: Reporter,
        metrics: Arc<Metrics>,
        registry: Arc<Registry>,
        rescale_now: Arc<Notify>,
    ) -> Self {
        Self(Arc::new(Shared {
            client,
            runtime,
            tasks,
            stop,
            reporter,
            metrics,
            registry,
            rescale_now,
        }))
    }

    /// Makes sure that somebody looks after the Revision's queue.
    pub(crate) fn ensure(&self, revision: &Arc<Revision>) {
        revision.changed.notify_one();
        if !revision.activating.swap(true, Ordering::SeqCst) {
            let activation = activate(self.0.clone(), revision.clone());
            self.0.tasks.spawn_on(activation, &self.0.runtime);
        }
    }

    /// An instance refused a connection: it goes last in line and is probed.
    pub(crate) fn eject(&self, revision: &Arc<Revision>, endpoint: &Arc<Endpoint>) {
        let until = clock::now() + clock::micros(EJECTION);
        if let Some(endpoint) = revision.eject(endpoint, until) {
            let job = Job::new(revision.clone(), endpoint);
            self.0.tasks.spawn(probe::run(job, self.0.stop.clone()));
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Activator").finish_non_exhaustive()
    }
}

async fn activate(shared: Arc<Shared>, revision: Arc<Revision>) {
    let begun = Instant::now();
    let mut cold = !revision.has_endpoints();
    let mut retry = FIRST_RETRY;
    let mut next_write = begun;
    loop {
        if cold && revision.has_endpoints() {
            cold = false;
            report(&shared, &revision, begun.elapsed());
        }
        if is_done(&revision) {
            return;
        }
        let step = next_step(&revision);
        let mut wake_at = Instant::now() + LOOK_EVERY;
        match step {
            Step::Wait => {
                if revision.has_endpoints() {
                    shared.rescale_now.notify_one();
                }
            }
            Step::SendOn => revision.queue.refuse_all(&Refusal::Moved),
            Step::Refuse(sentence) => {
                tracing::info!(revision = %revision.key(), reason = sentence, "start cannot succeed");
                revision.set_failure(Some(sentence.into()));
            }
            Step::Ask { .. } if Instant::now() < next_write => wake_at = next_write,
            Step::Ask { seen, replicas } => {
                if ask(&shared, &revision, seen, replicas).await {
                    retry = FIRST_RETRY;
                    next_write = Instant::now() + GROW_PAUSE;
                } else {
                    next_write = Instant::now() + retry;
                    retry = (retry * 2).min(LAST_RETRY);
                }
                wake_at = next_write;
            }
        }
        tokio::select! {
            () = revision.changed.notified() => {}
            () = tokio::time::sleep_until(wake_at) => {}
            () = shared.stop.cancelled() => return,
        }
    }
}

/// Whether nobody waits any more. A request that queues up between the two looks either sees that
/// the Revision is not being activated, or is seen by the second look.
fn is_done(revision: &Revision) -> bool {
    if revision.queue.waiting() > 0 {
        return false;
    }
    revision.activating.store(false, Ordering::SeqCst);
    revision.queue.waiting() == 0 || revision.activating.swap(true, Ordering::SeqCst)
}

fn report(shared: &Shared, revision: &Revision, duration: Duration) {
    let function = revision.key().sibling(revision.function());
    if let Some(function) = shared.registry.function(&function) {
        function.metrics().cold_start(duration);
    }
    shared
        .reporter
        .report(function, &revision.key().name, duration);
}

fn next_step(revision: &Revision) -> Step {
    let (scale, now) = (revision.scale(), Timestamp::now());
    let served = revision.has_endpoints();
    let waiting = revision.queue.waiting();
    let role = revision.role();
    revision.observe(|observed| plan(observed, &scale, role, served, waiting, now))
}

fn plan(
    observed: &Observed,
    scale: &ScaleSettings,
    role: Role,
    served: bool,
    waiting: usize,
    now: Timestamp,
) -> Step {
    if served {
        return Step::Wait;
    }
    if role == Role::Retired {
        return Step::SendOn;
    }
    if let Some(sentence) = fatal_reason(observed, now) {
        return Step::Refuse(sentence);
    }
    let Some(deployment) = &observed.deployment else {
        return Step::Wait;
    };
    let replicas = need(scale, waiting, now);
    if replicas > deployment.replicas {
        Step::Ask {
            seen: deployment.clone(),
            replicas,
        }
    } else {
        Step::Wait
    }
}

/// As many replicas as the waiting requests need, within the bounds.
fn need(scale: &ScaleSettings, waiting: usize, now: Timestamp) -> u32 {
    let (min, max) = scale.bounds(now);
    let wanted = (waiting as f64 / scale.target).ceil() as u32;
    wanted.max(scale.activation).max(min).min(max).max(1)
}

/// Asks for replicas; false if that has to be tried again later.
async fn ask(
    shared: &Shared,
    revision: &Revision,
    mut seen: DeploymentState,
    replicas: u32,
) -> bool {
    // A second try is for somebody who wrote between the watch and the first; who loses twice sees
    // what the others have done first.
    for _ in 0..2 {
        match patch::set_replicas(&shared.client, revision.key(), &seen, replicas).await {
            Ok(()) => {
                shared.metrics.decided(Decision::Wake);
                shared.rescale_now.notify_one();
                tracing::debug!(revision = %revision.key(), replicas, "waking");
                return true;
            }
            Err(patch::Error::Conflict(state)) if state.replicas >= replicas => return true,
            Err(patch::Error::Conflict(state)) => seen = state,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(revision = %revision.key(), error, "cannot wake; trying again");
                return false;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{pod::PodState, revision::TrackedPod};

    fn scale() -> ScaleSettings {
        ScaleSettings::of(&fermata_crds::Scale::default(), None)
    }

    fn observed(replicas: u32) -> Observed {
        Observed {
            deployment: Some(DeploymentState {
                replicas,
                ..DeploymentState::default()
            }),
            pods: Vec::new(),
            ..Observed::default()
        }
    }

    fn asked(step: Step) -> Option<u32> {
        match step {
            Step::Ask { replicas, .. } => Some(replicas),
            _ => None,
        }
    }

    fn planned(observed: &Observed, role: Role, waiting: usize) -> Step {
        plan(
            observed,
            &scale(),
            role,
            false,
            waiting,
            Timestamp::UNIX_EPOCH,
        )
    }

    #[test]
    fn asks_for_what_the_waiting_requests_need_within_max() {
        let active = |replicas, waiting| asked(planned(&observed(replicas), Role::Active, waiting));
        assert_eq!(active(0, 1), Some(1));
        assert_eq!(active(0, 70), Some(1));
        assert_eq!(active(1, 71), Some(2));
        assert_eq!(active(2, 71), None);
        assert_eq!(active(2, 1_000_000), Some(20));
    }

    #[test]
    fn a_start_that_cannot_succeed_is_refused() {
        let mut fatal = observed(1);
        fatal.pods.push(TrackedPod::new(PodState {
            ended: true,
            ..PodState::default()
        }));
        assert!(matches!(planned(&fatal, Role::Active, 1), Step::Refuse(_)));
    }

    #[test]
    fn waits_for_the_operator_and_leaves_the_retired_alone() {
        assert_eq!(planned(&Observed::default(), Role::Active, 1), Step::Wait);
        assert_eq!(planned(&observed(0), Role::Retired, 1), Step::SendOn);
        let served = plan(
            &observed(0),
            &scale(),
            Role::Active,
            true,
            9,
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(served, Step::Wait);
    }
}
