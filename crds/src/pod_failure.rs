//! Why a container will not start. The operator says so in conditions, and the gateway fails the
//! requests that wait for it; both take the decision here, lest one tells of a failure while the other
//! still waits.

/// What a container waits for when it will not start without somebody's help.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum StartFailure {
    /// Its image cannot be had.
    Image,
    /// It cannot be made or started, such as for a missing Secret.
    Container,
    /// It ends again and again.
    CrashLoop,
}

/// Waiting reasons of the kubelet and its container runtime that do not pass by themselves. All
/// others, such as ContainerCreating and PodInitializing, are stages of a start
/// (pkg/kubelet/images/types.go, pkg/kubelet/kuberuntime/kuberuntime_container.go,
/// pkg/kubelet/container/sync_result.go and k8s.io/cri-api's pkg/errors of Kubernetes 1.35).
const FAILURES: [(&str, StartFailure); 14] = [
    ("ErrImagePull", StartFailure::Image),
    ("ImagePullBackOff", StartFailure::Image),
    ("InvalidImageName", StartFailure::Image),
    ("ErrImageNeverPull", StartFailure::Image),
    ("ImageInspectError", StartFailure::Image),
    ("RegistryUnavailable", StartFailure::Image),
    ("SignatureValidationFailed", StartFailure::Image),
    ("CreateContainerConfigError", StartFailure::Container),
    ("CreateContainerError", StartFailure::Container),
    ("RunContainerError", StartFailure::Container),
    ("PreCreateHookError", StartFailure::Container),
    ("PreStartHookError", StartFailure::Container),
    ("PostStartHookError", StartFailure::Container),
    ("CrashLoopBackOff", StartFailure::CrashLoop),
];

// === impl StartFailure ===

impl StartFailure {
    /// Why a container that waits for this reason will not start; `None` while it still may.
    #[must_use]
    pub fn of_waiting(reason: &str) -> Option<Self> {
        let found = FAILURES.iter().find(|(name, _)| *name == reason);
        found.map(|(_, failure)| *failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_of_a_start_are_no_failures() {
        for reason in ["ContainerCreating", "PodInitializing", "", "Error"] {
            assert_eq!(StartFailure::of_waiting(reason), None, "{reason}");
        }
    }

    #[test]
    fn every_hook_that_fails_is_a_failure() {
        for reason in [
            "PreCreateHookError",
            "PreStartHookError",
            "PostStartHookError",
        ] {
            let failure = StartFailure::of_waiting(reason);
            assert_eq!(failure, Some(StartFailure::Container), "{reason}");
        }
    }
}
