//! The image of a Revision with source: whether there is to be one, how far it is, and what is to be done. Pure.
//!
//! It is built by a Job, once for each Revision. What a try has brought is told by the Job's pod, and kept in the
//! Revision's status, so that nothing has to be remembered that a next leader would not know.

mod ended;
pub(crate) mod job;
mod key;
mod result;

use std::{sync::Arc, time::Duration};

use fermata_crds::{
    Revision, RevisionBuild,
    conditions::{self, Outcome, Status},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt as _;

use self::{ended::Ended, job::Reuse};
use super::{build, dereference::Inputs, diagnose::Failure, start};
use crate::{observed::job::ObservedJob, options::Options, reasons};

/// How soon it is looked again at what has a Job's name, or is about to go.
const PAUSE: Duration = Duration::from_secs(5);
const CONFLICT_RETRY: Duration = Duration::from_secs(30);

/// The wait after a try that failed for a reason that may pass doubles from the one to the other.
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// What is known of the image, and what is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decision {
    /// What the status keeps.
    pub(crate) status: Option<RevisionBuild>,
    /// The condition Built; none where instances install for themselves.
    pub(crate) outcome: Option<Outcome>,
    /// What stands in the way.
    pub(crate) failure: Option<Failure>,
    pub(crate) next: Next,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    /// There is no image: instances fetch and install for themselves.
    Without,
    /// The image is there.
    Run(build::Image),
    /// Nothing yet; perhaps it has to be looked again.
    Wait(Option<Duration>),
    /// A Job is to be made.
    Start(Box<Start>),
    /// The Job is to go, so that another try can be made.
    Discard(Doomed),
}

/// A Job that is to go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Doomed {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// A Job that is to be made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Start {
    pub(crate) key: String,
    /// From 1 on.
    pub(crate) attempt: u32,
    /// The dependencies that are there already.
    pub(crate) reuse: Option<Reuse>,
}

/// Whether a Revision can have an image of its own: it installs dependencies, or fetches its source.
pub(crate) fn is_for(revision: &Revision) -> bool {
    revision.spec.build().is_some() || build::fetch::of(revision).is_some()
}

/// Decides. `template` is the pod as it would be without an image, and `donors` finds the Revisions of the
/// namespace that have a layer with a key.
pub(crate) fn decide(
    inputs: &Inputs,
    template: &PodTemplateSpec,
    donors: impl FnOnce(&str) -> Vec<Arc<Revision>>,
    options: &Options,
    now: Timestamp,
) -> Decision {
    let revision = &*inputs.revision;
    let old = revision
        .status
        .as_ref()
        .and_then(|status| status.build.as_ref());
    if !is_for(revision) {
        return without();
    }
    let registry = options.builds.registry.as_deref();
    if let Some(built) = old
        && let Some(image) = &built.image
        && is_own(image, revision, registry)
    {
        return there(built.clone(), image);
    }
    // What runs without an image, and is there only to be returned to, stays as it is.
    let named = inputs
        .function
        .as_ref()
        .is_some_and(|function| start::is_named(function, revision));
    if registry.is_none() || inputs.deployment.is_some() && !named {
        return without();
    }
    let key = key::of(revision, template);
    let state = old
        .filter(|old| old.key == key)
        .cloned()
        .unwrap_or_else(|| RevisionBuild {
            key: key.clone(),
            ..RevisionBuild::default()
        });
    let state = RevisionBuild {
        image: None,
        architecture: None,
        dependencies: None,
        ..state
    };
    let Some(job) = &inputs.job else {
        return begin(revision, state, old.is_some(), donors);
    };
    if !job.is_controlled_by(&revision.uid().unwrap_or_default()) {
        return conflict(state, &job.name);
    }
    if job.deleting {
        return building(state, Next::Wait(Some(PAUSE)));
    }
    let Some(finished) = &job.finished else {
        let mut decision = building(state, Next::Wait(Some(PAUSE)));
        decision.failure = ended::obstacle(&inputs.build_pods);
        if decision.failure.is_none()
            && inputs.build_pods.is_empty()
            && age(job, now) > ended::POD_PATIENCE
            && let Some(outcome) = &mut decision.outcome
        {
            outcome.message = format!(
                "the cluster has not made the pod of the build yet; is a quota used up? See kubectl describe job {}",
                job.name
            );
        }
        return decision;
    };
    match ended::ended(
        finished,
        &inputs.build_pods,
        registry.unwrap_or_default(),
        revision,
    ) {
        Ended::Built(result) => {
            let base = revision
                .spec
                .runtime
                .as_ref()
                .map(|runtime| runtime.image.clone());
            let image = result.image.clone();
            let built = RevisionBuild {
                key: job.key.clone(),
                image: Some(result.image),
                base,
                architecture: result.architecture,
                dependencies: result.layers.dependencies,
                failures: None,
                missing: None,
            };
            there(built, &image)
        }
        Ended::LayerGone => {
            let missing = job.reuse.clone().or(state.missing.clone());
            let failures = Some(job.attempt.saturating_sub(1)).filter(|failures| *failures > 0);
            building(
                RevisionBuild {
                    missing,
                    failures,
                    ..state
                },
                Next::Discard(Doomed::of(job)),
            )
        }
        Ended::Failed {
            status,
            reason,
            message,
            passes,
        } => {
            let failures = passes.then_some(job.attempt);
            // The layer binds the Job to machines that there may be no more.
            let late = finished.reason == ended::LATE;
            let missing = job.reuse.clone().filter(|_| late).or(state.missing.clone());
            let state = RevisionBuild {
                failures,
                missing,
                ..state
            };
            let wait = retry(job.attempt).saturating_sub(since(finished.at, now));
            let next = match passes {
                false => Next::Wait(None),
                true if wait.is_zero() => Next::Discard(Doomed::of(job)),
                true => Next::Wait(Some(wait)),
            };
            failed(state, status, reason, message, next)
        }
    }
}

/// There is no Job: one is made, unless the function itself is at fault for how the last one ended.
fn begin(
    revision: &Revision,
    state: RevisionBuild,
    tried: bool,
    donors: impl FnOnce(&str) -> Vec<Arc<Revision>>,
) -> Decision {
    let status = revision.status.as_ref();
    let told = status.and_then(|status| conditions::find(&status.conditions, conditions::BUILT));
    let hopeless = [reasons::BUILD_FAILED, reasons::FETCH_FAILED]
        .into_iter()
        .find(|reason| {
            tried && told.is_some_and(|told| told.status == "False" && told.reason == *reason)
        });
    if let (Some(reason), Some(told)) = (hopeless, told) {
        return failed(
            state,
            Status::False,
            reason,
            told.message.clone(),
            Next::Wait(None),
        );
    }
    let installs = revision.spec.build().is_some();
    // Where one layer was gone others may be as well.
    let reuse = (installs && state.missing.is_none())
        .then(|| donors(&state.key))
        .and_then(job::reuse);
    let start = Start {
        key: state.key.clone(),
        attempt: state.failures.unwrap_or_default().saturating_add(1),
        reuse,
    };
    building(state, Next::Start(Box::new(start)))
}

fn without() -> Decision {
    Decision {
        status: None,
        outcome: None,
        failure: None,
        next: Next::Without,
    }
}

fn there(built: RevisionBuild, image: &str) -> Decision {
    let image = build::Image {
        reference: image.to_owned(),
        architecture: built.architecture.clone(),
    };
    Decision {
        outcome: Some(outcome(
            Status::True,
            reasons::BUILT,
            format!("built into {}", image.reference),
        )),
        status: Some(built),
        failure: None,
        next: Next::Run(image),
    }
}

fn building(state: RevisionBuild, next: Next) -> Decision {
    let message = "building the image".to_owned();
    Decision {
        status: Some(state),
        outcome: Some(outcome(Status::Unknown, reasons::BUILDING, message)),
        failure: None,
        next,
    }
}

/// What stands in the way of an image.
fn failed(
    state: RevisionBuild,
    status: Status,
    reason: &'static str,
    message: String,
    next: Next,
) -> Decision {
    Decision {
        status: Some(state),
        outcome: Some(outcome(status, reason, message.clone())),
        failure: Some(Failure {
            reason,
            message,
            capacity: false,
        }),
        next,
    }
}

/// A Job of that name is somebody else's.
fn conflict(state: RevisionBuild, job: &str) -> Decision {
    let message = format!(
        "a Job named {job} is there already and is not this Revision's; delete or rename it"
    );
    failed(
        state,
        Status::False,
        reasons::JOB_CONFLICT,
        message,
        Next::Wait(Some(CONFLICT_RETRY)),
    )
}

fn outcome(status: Status, reason: &str, message: String) -> Outcome {
    Outcome {
        kind: conditions::BUILT,
        status,
        reason: reason.to_owned(),
        message,
    }
}

/// The repository of a namespace.
pub(crate) fn repository(registry: &str, namespace: &str) -> String {
    format!("{registry}/{namespace}")
}

/// Whether an image is one of the Revision's own repository, by its digest. Where the registry is not known any more,
/// the namespace has to do.
fn is_own(image: &str, revision: &Revision, registry: Option<&str>) -> bool {
    let namespace = revision.namespace().unwrap_or_default();
    let Some((name, digest)) = image.split_once('@') else {
        return false;
    };
    let within = match registry {
        Some(registry) => name == repository(registry, &namespace),
        None => name
            .rsplit_once('/')
            .is_some_and(|(_, last)| last == namespace),
    };
    within && result::is_digest(digest)
}

fn retry(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(10);
    FIRST_RETRY.saturating_mul(1 << doublings).min(LAST_RETRY)
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

pub(crate) fn age(job: &ObservedJob, now: Timestamp) -> Duration {
    since(job.created, now)
}

// === impl Doomed ===

impl Doomed {
    fn of(job: &ObservedJob) -> Self {
        Self {
            namespace: job.namespace.clone(),
            name: job.name.clone(),
            uid: job.uid.clone(),
        }
    }
}

// === impl Decision ===

impl Decision {
    /// The image that instances run, if there is one.
    pub(crate) fn image(&self) -> Option<&build::Image> {
        match &self.next {
            Next::Run(image) => Some(image),
            _ => None,
        }
    }

    /// Whether there is to be an image that is not there yet, so that no instance can start.
    pub(crate) fn is_pending(&self) -> bool {
        !matches!(self.next, Next::Without | Next::Run(_))
    }

    /// The Job waits for others to end.
    pub(crate) fn queue(&mut self, under_way: usize) {
        let message = format!(
            "waits for its turn: {under_way} builds are under way, which is the most at once"
        );
        self.outcome = Some(outcome(Status::Unknown, reasons::BUILD_QUEUED, message));
    }

    /// The Job's name is taken.
    pub(crate) fn taken(&mut self, job: &str) {
        *self = conflict(self.status.take().unwrap_or_default(), job);
    }

    /// The cluster will not have the Job.
    pub(crate) fn refused(&mut self, reason: &'static str, sentence: &str) {
        let message = format!("the cluster refuses the Job that builds: {sentence}");
        let next = Next::Wait(Some(CONFLICT_RETRY));
        *self = failed(
            self.status.take().unwrap_or_default(),
            Status::Unknown,
            reason,
            message,
            next,
        );
    }
}

#[cfg(test)]
mod tests;
