//! Whether the dependencies of a Revision are installed, and why not. Pure.

use std::sync::Arc;

use fermata_crds::{
    Revision,
    conditions::{self, Outcome, Status},
};

use super::diagnose::Failure;
use crate::{observed::pod::ObservedPod, reasons};

/// The condition Built; none where there is nothing to install.
///
/// It is of the Revision, and not of its pods: what one instance could install, the next one can, until one
/// cannot.
pub(crate) fn outcome(
    revision: &Revision,
    pods: &[Arc<ObservedPod>],
    failure: Option<&Failure>,
    keeps_builds: bool,
) -> Option<Outcome> {
    revision.spec.build()?;
    let outcome = |status, reason: &str, message: String| Outcome {
        kind: conditions::BUILT,
        status,
        reason: reason.to_owned(),
        message,
    };
    match failure {
        Some(failure) if failure.reason == reasons::BUILD_FAILED => {
            return Some(outcome(
                Status::False,
                failure.reason,
                failure.message.clone(),
            ));
        }
        Some(failure)
            if matches!(
                failure.reason,
                reasons::REGISTRY_UNREACHABLE | reasons::DISK_FULL
            ) =>
        {
            return Some(outcome(
                Status::Unknown,
                failure.reason,
                failure.message.clone(),
            ));
        }
        _ => {}
    }
    let status = revision.status.as_ref();
    let old = status.and_then(|status| conditions::find(&status.conditions, conditions::BUILT));
    if pods.iter().any(|pod| pod.built) {
        let message = if keeps_builds {
            ""
        } else {
            "each instance installs them when it starts, which makes starts slower; for quick ones, build an image"
        };
        return Some(outcome(Status::True, reasons::BUILT, message.to_owned()));
    }
    let known = old.and_then(|old| {
        let status = match old.status.as_str() {
            "True" => Status::True,
            "False" => Status::False,
            _ => return None,
        };
        // No instance is there that could know better.
        let stays = status == Status::True || pods.is_empty();
        stays.then(|| outcome(status, &old.reason, old.message.clone()))
    });
    Some(known.unwrap_or_else(|| {
        let message = "installing the dependencies".to_owned();
        outcome(Status::Unknown, reasons::BUILDING, message)
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{fixtures, observed::pod};

    const BUILT: &str = "{ functionName: hello, template: { source: { runtime: python, files: { requirements.txt: foo } } }, runtime: { image: a, command: [b], build: { image: c, command: [d], target: /dependencies } } }";

    fn pod(build: &serde_json::Value) -> Arc<ObservedPod> {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": []},
            "status": {"initContainerStatuses": [{"name": "fermata-build", "image": "", "imageID": "",
                "ready": false, "restartCount": 0, "state": build}]}});
        Arc::new(pod::observe(serde_json::from_value(pod).expect("a Pod")))
    }

    fn told(revision: &Revision, pods: &[Arc<ObservedPod>], failure: Option<&Failure>) -> Outcome {
        outcome(revision, pods, failure, true).expect("it is built")
    }

    #[test]
    fn what_has_no_dependencies_is_not_built() {
        let revision = fixtures::revision("{ functionName: hello, template: { image: a } }");
        assert_eq!(outcome(&revision, &[], None, true), None);
    }

    #[test]
    fn a_build_is_told_from_its_beginning_to_its_end_and_after_that() {
        let mut revision = fixtures::revision(BUILT);
        let running = pod(&json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}));
        let first = told(&revision, std::slice::from_ref(&running), None);
        assert_eq!(
            (first.status, &*first.reason),
            (Status::Unknown, reasons::BUILDING)
        );

        let ended = pod(&json!({"terminated": {"exitCode": 0}}));
        let built = told(&revision, &[running.clone(), ended], None);
        assert_eq!(built.status, Status::True);

        let conditions = conditions::merge(&[], &[built], None, jiff::Timestamp::UNIX_EPOCH);
        revision.status = Some(fermata_crds::RevisionStatus {
            conditions,
            ..Default::default()
        });
        assert_eq!(told(&revision, &[running], None).status, Status::True);
        assert_eq!(told(&revision, &[], None).status, Status::True);
    }

    #[test]
    fn a_failure_is_one_of_the_function_or_of_a_registry() {
        let revision = fixtures::revision(BUILT);
        let failed = |reason| Failure {
            reason,
            message: "why".into(),
            capacity: false,
        };
        let outcome = told(&revision, &[], Some(&failed(reasons::BUILD_FAILED)));
        assert_eq!((outcome.status, &*outcome.message), (Status::False, "why"));
        for reason in [reasons::REGISTRY_UNREACHABLE, reasons::DISK_FULL] {
            let outcome = told(&revision, &[], Some(&failed(reason)));
            assert_eq!(outcome.status, Status::Unknown);
        }
    }
}
