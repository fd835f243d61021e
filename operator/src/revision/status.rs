//! Step five: what the Revision's status says. Pure.

use fermata_crds::{
    RevisionStatus, Scale,
    conditions::{self, Outcome, Status},
};
use jiff::Timestamp;

use super::{apply::Applied, built, dereference::Inputs, diagnose::Failure, image::Decision};
use crate::{observed::deployment::ObservedDeployment, options::Options, reasons};

/// What is known of a Revision's replicas.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Replicas {
    wanted: i32,
    existing: i32,
    ready: i32,
}

/// The status of a Revision. `trouble` is what the cluster says against its replicas.
pub(crate) fn status(
    inputs: &Inputs,
    applied: &Applied,
    image: Option<&Decision>,
    trouble: Option<&Failure>,
    options: &Options,
    now: Timestamp,
) -> RevisionStatus {
    let revision = &*inputs.revision;
    let old = revision.status.clone().unwrap_or_default();
    let replicas = applied
        .deployment
        .as_deref()
        .map(Replicas::of)
        .unwrap_or_default();
    let obstacle = image.and_then(|image| image.failure.as_ref());
    let failure = applied.failure.as_ref().or(trouble).or(obstacle);
    // What is waited for before anything can start.
    let pending = image.filter(|image| image.is_pending() && applied.deployment.is_none());
    let pending = pending.and_then(|image| image.outcome.as_ref());
    let has_been_ready = old.has_been_ready
        || applied.deployment.is_some()
            && applied.failure.is_none()
            && is_proven(&revision.spec.scale(), replicas, trouble);
    let ready = ready(
        replicas,
        failure,
        pending,
        has_been_ready,
        &old,
        applied.failure.is_some() || pending.is_some(),
    );
    let active = active(replicas, failure, pending);
    let by_image = image.and_then(|image| image.outcome.clone());
    let built =
        by_image.or_else(|| built::outcome(revision, &inputs.pods, failure, options.keeps_builds));
    let outcomes: Vec<Outcome> = [ready, active].into_iter().chain(built).collect();
    RevisionStatus {
        observed_generation: revision.metadata.generation,
        conditions: conditions::merge(
            &old.conditions,
            &outcomes,
            revision.metadata.generation,
            now,
        ),
        replicas: Some(replicas.existing),
        ready_replicas: Some(replicas.ready),
        has_been_ready,
        build: image.map_or(old.build, |image| image.status.clone()),
    }
}

/// Whether the trial is passed: as many replicas are ready as were started. Where there is no room
/// for all of them, as when a quota does not hold two generations at once, the initial number is
/// enough, lest the new Revision wait for ever for the old one to go.
fn is_proven(scale: &Scale, replicas: Replicas, trouble: Option<&Failure>) -> bool {
    let initial = i32::try_from(scale.initial()).unwrap_or(i32::MAX);
    if replicas.wanted == 0 {
        return initial == 0;
    }
    let no_room = trouble.is_some_and(|trouble| trouble.capacity);
    let needed = if no_room {
        initial.max(1)
    } else {
        replicas.wanted
    };
    replicas.ready >= needed
}

fn ready(
    replicas: Replicas,
    failure: Option<&Failure>,
    pending: Option<&Outcome>,
    has_been_ready: bool,
    old: &RevisionStatus,
    no_children: bool,
) -> Outcome {
    let outcome = |status, reason: &str, message: String| Outcome {
        kind: conditions::READY,
        status,
        reason: reason.to_owned(),
        message,
    };
    let works = replicas.ready > 0 || replicas.wanted == 0;
    if let Some(failure) = failure
        && (no_children || !has_been_ready || !works)
    {
        return outcome(Status::False, failure.reason, failure.message.clone());
    }
    if has_been_ready {
        return outcome(Status::True, reasons::READY, String::new());
    }
    if let Some(pending) = pending {
        return outcome(Status::Unknown, &pending.reason, pending.message.clone());
    }
    if replicas.wanted == 0
        && let Some(last) = conditions::find(&old.conditions, conditions::READY)
            .filter(|last| last.status == Status::False.as_str())
    {
        // It was given up before it was ever ready: why it failed stays true.
        return outcome(Status::False, &last.reason, last.message.clone());
    }
    let message = match replicas {
        Replicas { wanted: 0, .. } => "no replica has been started".to_owned(),
        Replicas { wanted, ready, .. } => format!("{ready} of {wanted} replicas are ready"),
    };
    outcome(Status::Unknown, reasons::DEPLOYING, message)
}

fn active(replicas: Replicas, failure: Option<&Failure>, pending: Option<&Outcome>) -> Outcome {
    let (status, reason, message) = if replicas.ready > 0 {
        (Status::True, reasons::RUNNING, String::new())
    } else if let (Some(failure), true) = (failure, pending.is_some()) {
        (Status::False, failure.reason, failure.message.clone())
    } else if let Some(pending) = pending {
        (
            Status::Unknown,
            pending.reason.as_str(),
            pending.message.clone(),
        )
    } else if replicas.wanted == 0 {
        let message = "Resting at zero; the next request wakes it".to_owned();
        (Status::False, reasons::AT_ZERO, message)
    } else if let Some(failure) = failure {
        (Status::False, failure.reason, failure.message.clone())
    } else {
        let message = "Waiting for the first replica to be ready".to_owned();
        (Status::Unknown, reasons::STARTING, message)
    };
    Outcome {
        kind: conditions::ACTIVE,
        status,
        reason: reason.to_owned(),
        message,
    }
}

/// Whether the status says no more than that the Revision is starting.
pub(crate) fn is_transient(status: &RevisionStatus) -> bool {
    conditions::find(&status.conditions, conditions::READY)
        .is_some_and(|ready| ready.status == Status::Unknown.as_str())
}

// === impl Replicas ===

impl Replicas {
    fn of(deployment: &ObservedDeployment) -> Self {
        Self {
            wanted: deployment.wanted,
            existing: deployment.replicas,
            ready: deployment.ready,
        }
    }
}

#[cfg(test)]
mod tests;
