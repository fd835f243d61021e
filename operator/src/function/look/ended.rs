//! What a pod that looks has found. Pure.

use fermata_crds::{conditions::Status, git, pod_failure::StartFailure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::{
    reasons,
    revision::crash::{NO_ROOM, TRY_AGAIN},
};

/// The exit codes of the program: no such repository or reference (EX_NOINPUT of sysexits.h), and other credentials
/// wanted (EX_NOPERM).
const NOT_FOUND: i32 = 66;
const NOT_ALLOWED: i32 = 77;

/// How many characters of what it has said are told.
const LONGEST_LINE: usize = 1024;

/// How a look ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Ended {
    pub(crate) at: Timestamp,
    /// The commit, or why there is none.
    pub(crate) result: Result<String, Failed>,
}

/// Why there is no commit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Failed {
    pub(crate) status: Status,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

// === impl Failed ===

impl Failed {
    pub(crate) fn other(message: String) -> Self {
        Self {
            status: Status::False,
            reason: reasons::LOOK_FAILED,
            message,
        }
    }
}

/// What came of the pod; `None` while it may still find something.
pub(super) fn ended(pod: &Pod, now: Timestamp) -> Option<Ended> {
    let status = pod.status.as_ref()?;
    let container = status.container_statuses.iter().flatten().next();
    let state = container.and_then(|container| container.state.as_ref());
    if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
        let at = ended.finished_at.as_ref().map_or(now, |time| time.0);
        let said = ended.message.as_deref().unwrap_or_default();
        let mut lines = said.lines().rev().map(str::trim);
        let last = lines.find(|line| !line.is_empty()).unwrap_or_default();
        let result = match ended.exit_code {
            0 if git::is_commit(last) => Ok(last.to_owned()),
            code => Err(failed(code, last)),
        };
        return Some(Ended { at, result });
    }
    if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let hopeless = matches!(
            StartFailure::of_waiting(reason),
            Some(StartFailure::Image | StartFailure::Container)
        );
        if hopeless {
            let message = waiting.message.as_deref().unwrap_or_default();
            let message = format!("the pod that looks does not start: {reason}: {message}");
            let result = Err(Failed::other(message));
            return Some(Ended { at: now, result });
        }
    }
    (status.phase.as_deref() == Some("Failed")).then(|| {
        let reason = status.reason.as_deref().unwrap_or("Failed");
        let message = status.message.as_deref().unwrap_or_default();
        let message = format!("the pod that looks was ended: {reason}: {message}");
        let result = Err(if reason == "DeadlineExceeded" {
            Failed {
                status: Status::Unknown,
                reason: reasons::REPOSITORY_UNREACHABLE,
                message: "the repository does not answer in time".to_owned(),
            }
        } else {
            Failed::other(message)
        });
        Ended { at: now, result }
    })
}

fn failed(code: i32, said: &str) -> Failed {
    let said = said.strip_prefix("fermata: ").unwrap_or(said);
    let message: String = match said {
        "" => format!("the look ended with exit code {code}"),
        said => said.chars().take(LONGEST_LINE).collect(),
    };
    let (status, reason) = match code {
        TRY_AGAIN => (Status::Unknown, reasons::REPOSITORY_UNREACHABLE),
        NO_ROOM => (Status::Unknown, reasons::DISK_FULL),
        NOT_FOUND => (Status::False, reasons::REF_NOT_FOUND),
        NOT_ALLOWED => (Status::False, reasons::AUTHENTICATION_FAILED),
        _ => (Status::False, reasons::LOOK_FAILED),
    };
    Failed {
        status,
        reason,
        message,
    }
}
