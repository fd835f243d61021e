//! How a build ended, or what keeps it from ending. Pure.

use std::{sync::Arc, time::Duration};

use fermata_crds::{Revision, conditions::Status, names};

use super::{
    is_own,
    result::{self, Pushed},
};
use crate::{
    observed::{
        job::Finished,
        pod::{Crash, ObservedPod, Trouble},
    },
    reasons,
    revision::{crash, diagnose::Failure},
};

/// How long a Job may be without a pod before that is told.
pub(super) const POD_PATIENCE: Duration = Duration::from_secs(30);

/// The reason of a Job whose time is over.
pub(super) const LATE: &str = "DeadlineExceeded";

/// The exit codes of the program that pushes: what it is to push cannot be in an image (EX_DATAERR), the layer that was to be used again is not there (EX_NOINPUT of
/// sysexits.h), and a registry refuses (EX_NOPERM).
const BAD_CONTENT: i32 = 65;
const LAYER_GONE: i32 = 66;
const REFUSED: i32 = 77;

/// How a build ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ended {
    Built(Pushed),
    /// It has to be built without the layer of another Revision.
    LayerGone,
    Failed {
        status: Status,
        reason: &'static str,
        message: String,
        /// Another try may go better.
        passes: bool,
    },
}

/// How a Job ended.
pub(super) fn ended(
    finished: &Finished,
    pods: &[Arc<ObservedPod>],
    registry: &str,
    revision: &Revision,
) -> Ended {
    if finished.well {
        let told = pods
            .iter()
            .find_map(|pod| result::read(pod.build.as_ref()?.result.as_deref()?));
        return match told.filter(|told| is_own(&told.image, revision, Some(registry))) {
            Some(told) => Ended::Built(told),
            None => passing(
                "the build has ended well, and its result is lost; it is tried again".to_owned(),
            ),
        };
    }
    let interrupted = |pod: &Arc<ObservedPod>| pod.build.as_ref()?.interrupted.clone();
    if let Some(reason) = pods.iter().find_map(interrupted) {
        return passing(format!(
            "the pod of the build was ended from outside ({reason}); it is tried again"
        ));
    }
    let crash = pods.iter().find_map(|pod| match &pod.trouble {
        Some(Trouble::Crash(crash)) => Some(crash),
        _ => None,
    });
    match crash {
        Some(crash) => failed(crash),
        None if finished.reason == LATE => passing(
            "the build has not ended in time, the wait for a node and for images included; it is tried again. kubectl get events shows what it waits for".to_owned(),
        ),
        None => passing("the pod of the build was ended from outside, such as by an eviction; it is tried again".to_owned()),
    }
}

/// How one of its containers failed.
fn failed(crash: &Crash) -> Ended {
    match (crash.container.as_str(), crash.exit_code) {
        (names::PUSH_CONTAINER, LAYER_GONE) => Ended::LayerGone,
        (names::PUSH_CONTAINER, REFUSED) => Ended::Failed {
            status: Status::False,
            reason: reasons::PUSH_REFUSED,
            message: format!(
                "the image cannot be pushed, and it is tried again: {}",
                crash::last_words(crash)
            ),
            passes: true,
        },
        (names::PUSH_CONTAINER, crash::TRY_AGAIN) => passing(format!(
            "the image cannot be pushed now, and it is tried again: {}",
            crash::last_words(crash)
        )),
        (names::PUSH_CONTAINER, BAD_CONTENT) => Ended::Failed {
            status: Status::False,
            reason: reasons::BUILD_FAILED,
            message: format!("the image cannot be made: {}", crash::last_words(crash)),
            passes: false,
        },
        (names::PUSH_CONTAINER, _) => passing(format!(
            "what pushes the image has failed, and is tried again: {}",
            crash::last_words(crash)
        )),
        (container, _) => {
            let (reason, message) = match container {
                names::FETCH_CONTAINER => crash::fetch_failure(crash),
                _ => crash::build_failure(crash),
            };
            let passes = matches!(
                reason,
                reasons::REGISTRY_UNREACHABLE
                    | reasons::REPOSITORY_UNREACHABLE
                    | reasons::DISK_FULL
            );
            let status = if passes {
                Status::Unknown
            } else {
                Status::False
            };
            Ended::Failed {
                status,
                reason,
                message,
                passes,
            }
        }
    }
}

fn passing(message: String) -> Ended {
    Ended::Failed {
        status: Status::Unknown,
        reason: reasons::REGISTRY_UNREACHABLE,
        message,
        passes: true,
    }
}

/// What keeps a Job from ending that has not.
pub(super) fn obstacle(pods: &[Arc<ObservedPod>]) -> Option<Failure> {
    let trouble = pods.iter().find_map(|pod| pod.trouble.as_ref())?;
    let (reason, message) = match trouble {
        Trouble::Image { reason, message } => {
            (reasons::IMAGE_PULL_FAILED, format!("{reason}: {message}"))
        }
        Trouble::Container { reason, message } => {
            (reasons::CONTAINER_FAILED, format!("{reason}: {message}"))
        }
        Trouble::Unschedulable { message } => (reasons::UNSCHEDULABLE, message.clone()),
        // The Job is about to say so.
        Trouble::Crash(_) | Trouble::Failed { .. } => return None,
    };
    Some(Failure {
        reason,
        message: format!("the pod of the build does not start: {message}"),
        capacity: false,
    })
}
