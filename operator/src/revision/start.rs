//! When a Revision's Deployment is made, and with how many replicas. Pure.

use fermata_crds::{Function, Revision, Scale};
use kube::ResourceExt as _;

/// Replicas of a Revision that has never been ready: its trial. Where an older Revision carries
/// requests, the new one begins with as many ready replicas, so that a roll under load does not
/// start small.
pub(crate) fn replicas(scale: &Scale, serving_ready: Option<i32>) -> i32 {
    let bound = |replicas: u32| i32::try_from(replicas).unwrap_or(i32::MAX);
    let (initial, max) = (bound(scale.initial()), bound(scale.max()));
    initial.max(serving_ready.unwrap_or(0)).min(max)
}

/// Replicas a Deployment is made with. A Revision that has been ready needs no trial: it comes back
/// with what it had last.
pub(crate) fn replicas_of(revision: &Revision, serving_ready: Option<i32>) -> i32 {
    match &revision.status {
        Some(status) if status.has_been_ready => status.replicas.unwrap_or(0),
        _ => replicas(&revision.spec.scale(), serving_ready),
    }
}

/// Whether the Function's status names the Revision as the newest or as one that gets requests.
///
/// Only then may replicas run: the gateway scales all others to zero, and must have read the status
/// first.
pub(crate) fn is_named(function: &Function, revision: &Revision) -> bool {
    let name = revision.name_any();
    function.status.as_ref().is_some_and(|status| {
        status.latest_created_revision.as_ref() == Some(&name)
            || status.traffic.iter().any(|target| target.revision == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_as_large_as_what_it_will_replace() {
        let scale = |initial, max| Scale {
            initial: Some(initial),
            max: Some(max),
            ..Scale::default()
        };
        for (scale, serving, expected) in [
            (scale(1, 20), None, 1),
            (scale(0, 20), None, 0),
            (scale(0, 20), Some(0), 0),
            (scale(1, 20), Some(7), 7),
            (scale(0, 20), Some(7), 7),
            (scale(3, 20), Some(1), 3),
            (scale(1, 5), Some(7), 5),
        ] {
            assert_eq!(replicas(&scale, serving), expected);
        }
    }
}
