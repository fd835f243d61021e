//! Whether a start can still succeed. Pure.

use std::time::Duration;

use fermata_crds::pod_failure::StartFailure;
use jiff::{SignedDuration, Timestamp};

use crate::backend::{
    pod::{PodState, Trouble},
    revision::Observed,
};

/// How long the cluster may find no node for a pod before requests stop waiting for it.
const UNSCHEDULABLE_GRACE: Duration = Duration::from_secs(5);

/// The sentence that says why no instance will come up, in the cluster's own words; `None` while one
/// still may. It is hopeless only if every pod is, or if there is none and the cluster refuses to
/// make any.
#[must_use]
pub(crate) fn fatal_reason(observed: &Observed, now: Timestamp) -> Option<String> {
    let deployment = observed.deployment.as_ref()?;
    if deployment.replicas == 0 {
        return None;
    }
    let mut verdict = None;
    let mut pods = 0;
    for pod in &observed.pods {
        if pod.state.terminating {
            continue;
        }
        pods += 1;
        let sentence = if pod.usable {
            None
        } else {
            let overdue = || deployment.overdue.as_deref().map(str::to_owned);
            pod_fatal_reason(&pod.state, now).or_else(overdue)
        };
        verdict = Some(sentence?);
    }
    if pods == 0 {
        let reason = deployment.failure.as_ref().or(deployment.overdue.as_ref());
        return reason.map(ToString::to_string);
    }
    verdict
}

fn pod_fatal_reason(pod: &PodState, now: Timestamp) -> Option<String> {
    if let Some((since, message)) = &pod.unschedulable {
        let grace = SignedDuration::try_from(UNSCHEDULABLE_GRACE).unwrap_or(SignedDuration::ZERO);
        let lasting = now.duration_since(*since) > grace;
        return lasting.then(|| format!("pod {} is Unschedulable: {message}", pod.name));
    }
    if let Some(trouble) = &pod.trouble
        && is_fatal(trouble, pod.restarts)
    {
        return Some(sentence(&pod.name, trouble));
    }
    pod.ended.then(|| format!("pod {} has ended", pod.name))
}

/// One crash may be an accident; a second one is a pattern.
fn is_fatal(trouble: &Trouble, restarts: u32) -> bool {
    StartFailure::of_waiting(&trouble.reason).is_some()
        || trouble.last_exit.is_some() && restarts >= 1
}

fn sentence(pod: &str, trouble: &Trouble) -> String {
    let Trouble {
        container,
        reason,
        message,
        last_exit,
    } = trouble;
    let mut text = format!("container {container} of pod {pod}: {reason}");
    if !message.is_empty() {
        text.push_str(": ");
        text.push_str(message);
    }
    if let Some(exit) = last_exit {
        text.push_str(" (last run: ");
        text.push_str(exit);
        text.push(')');
    }
    text
}

#[cfg(test)]
mod tests;
