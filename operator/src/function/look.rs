//! To which commit the reference of a git source leads: what is known of it, and what is to be done to know more.
//! Pure.
//!
//! A pod looks, and its status has the answer. What was found stands in the Function's status, so that another
//! replica goes on from there.

pub(crate) mod ended;
pub(crate) mod pod;

use std::time::Duration;

use fermata_crds::{
    Function, GitSource, SourceStatus,
    conditions::{self, Outcome, Status},
    names,
};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};
use kube::ResourceExt as _;
use serde_json::json;

use self::ended::{Ended, Failed};
use crate::{cache::controller_uid, digest::digest, reasons};

/// Annotation on the pod: what it was asked.
pub(crate) const ASKED_ANNOTATION: &str = "fermata.dev/asked";

/// How soon a pod that looks is looked at again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a pod may take to answer, its start included.
const PATIENCE: Duration = Duration::from_secs(90);

/// The wait after a look that failed doubles from the one to the other.
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// What is known, and what is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Look {
    /// What the status says of the source.
    pub(crate) status: SourceStatus,
    /// The condition SourceResolved.
    pub(crate) outcome: Outcome,
    pub(crate) next: Next,
}

/// What is to be done about the pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    /// Nothing; perhaps something later.
    Rest(Option<Duration>),
    /// A pod is to be made that is asked this.
    Start(String),
    /// The pod has not answered.
    Wait,
    /// The pod is to go, when the status is written; and it is to be looked again after that time.
    Discard(Box<Pod>, Option<Duration>),
}

/// Decides. `pod` is the one under the name of the Function's.
pub(crate) fn decide(
    function: &Function,
    git: &GitSource,
    pod: Option<Pod>,
    now: Timestamp,
) -> Look {
    let asked = asked(function, git);
    let old = function.status.as_ref();
    let known = old
        .and_then(|status| status.source.clone())
        .filter(|known| known.url == git.url && known.reference == git.reference());
    let status = known.unwrap_or_else(|| SourceStatus {
        url: git.url.clone(),
        reference: git.reference().to_owned(),
        ..SourceStatus::default()
    });
    if let Some(commit) = git.commit() {
        return named(status, commit, pod, now);
    }
    let condition =
        old.and_then(|status| conditions::find(&status.conditions, conditions::SOURCE_RESOLVED));
    let told = status
        .look
        .as_ref()
        .and(condition)
        .map(|condition| Outcome {
            kind: conditions::SOURCE_RESOLVED,
            status: match condition.status.as_str() {
                "True" => Status::True,
                "False" => Status::False,
                _ => Status::Unknown,
            },
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        });
    let outcome = told.unwrap_or_else(|| {
        let message = format!("looking up {} in {}", git.reference(), git.url);
        outcome(Status::Unknown, reasons::LOOKING_UP, message)
    });
    let Some(pod) = pod else {
        let next = match due(&status, git, &asked, now) {
            Some(wait) if wait.is_zero() => Next::Start(asked),
            wait => Next::Rest(wait),
        };
        return Look {
            status,
            outcome,
            next,
        };
    };
    if controller_uid(&pod) != function.metadata.uid.as_deref() {
        let message = format!(
            "the Pod {} is none of this function's, but has the name of the one that would look; delete it",
            pod.name_any()
        );
        return Look {
            outcome: self::outcome(Status::False, reasons::LOOK_FAILED, message),
            status,
            next: Next::Rest(Some(LAST_RETRY)),
        };
    }
    let stays = |next| Look {
        status: status.clone(),
        outcome: outcome.clone(),
        next,
    };
    if pod.metadata.deletion_timestamp.is_some() {
        return stays(Next::Wait);
    }
    if pod.annotations().get(ASKED_ANNOTATION) != Some(&asked) {
        return stays(Next::Discard(Box::new(pod), Some(PAUSE)));
    }
    let ended = match ended::ended(&pod, now) {
        Some(ended) => ended,
        None if age(&pod, now) < PATIENCE => return stays(Next::Wait),
        None => Ended {
            at: now,
            result: Err(Failed::other(format!(
                "the pod that looks has not answered within {} s; kubectl get events shows why",
                PATIENCE.as_secs()
            ))),
        },
    };
    let is_new = status.look.as_ref() != Some(&asked)
        || status
            .looked_up_at
            .as_ref()
            .is_none_or(|last| last.0 < second(ended.at).0);
    if !is_new {
        return stays(Next::Discard(Box::new(pod), Some(PAUSE)));
    }
    let (status, outcome) = found(status, &asked, ended);
    let again = due(&status, git, &asked, now);
    Look {
        status,
        outcome,
        next: Next::Discard(Box::new(pod), again),
    }
}

/// What there is to look up: another one is looked up at once.
fn asked(function: &Function, git: &GitSource) -> String {
    digest(&json!({
        "url": git.url,
        "ref": git.reference(),
        "secretName": git.secret_name,
        "look": function.annotations().get(names::LOOK_ANNOTATION),
    }))
}

/// The commit is in the manifest: nobody has to look.
fn named(status: SourceStatus, commit: &str, pod: Option<Pod>, now: Timestamp) -> Look {
    let since = status.since.clone().filter(|_| status.commit.is_some());
    Look {
        status: SourceStatus {
            url: status.url,
            reference: status.reference,
            commit: Some(commit.to_owned()),
            since: Some(since.unwrap_or_else(|| second(now))),
            ..SourceStatus::default()
        },
        outcome: outcome(
            Status::True,
            reasons::SOURCE_RESOLVED,
            "the manifest names the commit".to_owned(),
        ),
        next: match pod {
            Some(pod) => Next::Discard(Box::new(pod), None),
            None => Next::Rest(None),
        },
    }
}

/// What is known after a look.
fn found(mut status: SourceStatus, asked: &str, ended: Ended) -> (SourceStatus, Outcome) {
    status.look = Some(asked.to_owned());
    status.looked_up_at = Some(second(ended.at));
    match ended.result {
        Ok(commit) => {
            if status.commit.as_ref() != Some(&commit) {
                status.since = Some(second(ended.at));
            }
            let message = format!("{} is at {commit}", status.reference);
            status.commit = Some(commit);
            status.failures = None;
            let outcome = outcome(Status::True, reasons::SOURCE_RESOLVED, message);
            (status, outcome)
        }
        Err(failed) => {
            status.failures = Some(status.failures.unwrap_or_default().saturating_add(1));
            let message = match &status.commit {
                Some(commit) => format!("{}; {commit} stays what runs", failed.message),
                None => failed.message,
            };
            (status, outcome(failed.status, failed.reason, message))
        }
    }
}

/// How long until it is to be looked; never if nothing changes and nobody wants it.
fn due(status: &SourceStatus, git: &GitSource, asked: &str, now: Timestamp) -> Option<Duration> {
    let Some(last) = status
        .looked_up_at
        .as_ref()
        .filter(|_| status.look.as_deref() == Some(asked))
    else {
        return Some(Duration::ZERO);
    };
    let retry = status.failures.filter(|failures| *failures > 0);
    let retry = retry.map(|failures| {
        let doublings = failures.saturating_sub(1).min(10);
        FIRST_RETRY.saturating_mul(1 << doublings).min(LAST_RETRY)
    });
    let wait = [retry, git.poll().filter(|_| retry.is_none())];
    let wait = wait.into_iter().flatten().min()?;
    let since = Duration::try_from(now.duration_since(last.0)).unwrap_or_default();
    Some(wait.saturating_sub(since))
}

fn age(pod: &Pod, now: Timestamp) -> Duration {
    let made = pod.creation_timestamp().map_or(now, |made| made.0);
    Duration::try_from(now.duration_since(made)).unwrap_or_default()
}

/// Times of the API have whole seconds.
fn second(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

fn outcome(status: Status, reason: &str, message: String) -> Outcome {
    Outcome {
        kind: conditions::SOURCE_RESOLVED,
        status,
        reason: reason.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests;
