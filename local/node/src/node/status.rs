//! What the pod's status says, from what is known of its containers. Pure.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::ADDRESS;

/// What is known of one container.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ContainerReport {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) state: ContainerState,
    pub(super) last_state: Option<ContainerState>,
    pub(super) restarts: i32,
    pub(super) started: bool,
    pub(super) ready: bool,
    pub(super) id: Option<String>,
}

/// What is known of the pod.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PodReport {
    pub(super) started_at: Timestamp,
    pub(super) initialized: bool,
    pub(super) inits: Vec<ContainerReport>,
    pub(super) containers: Vec<ContainerReport>,
    /// Set when the pod is over for good: phase, reason and message.
    pub(super) over: Option<(&'static str, Option<String>, Option<String>)>,
}

// === impl ContainerReport ===

impl ContainerReport {
    pub(super) fn new(name: &str, image: Option<&str>, waiting_for: &str) -> Self {
        Self {
            name: name.to_owned(),
            image: image.unwrap_or_default().to_owned(),
            state: waiting(waiting_for, None),
            last_state: None,
            restarts: 0,
            started: false,
            ready: false,
            id: None,
        }
    }

    /// The container is in this state now. How it ended before is kept beside it.
    pub(super) fn enter(&mut self, state: ContainerState) {
        let before = std::mem::replace(&mut self.state, state);
        if before.terminated.is_some() {
            self.last_state = Some(before);
        }
    }

    fn status(&self) -> ContainerStatus {
        ContainerStatus {
            name: self.name.clone(),
            image: self.image.clone(),
            image_id: String::new(),
            container_id: self.id.clone(),
            state: Some(self.state.clone()),
            last_state: self.last_state.clone(),
            restart_count: self.restarts,
            started: Some(self.started),
            ready: self.ready,
            ..ContainerStatus::default()
        }
    }

    fn terminated(&self) -> Option<&ContainerStateTerminated> {
        self.state.terminated.as_ref()
    }
}

// === impl PodReport ===

impl PodReport {
    /// The pod's status, but for the class of service, which the API server has written. Conditions keep their transition
    /// times from `old`.
    pub(super) fn status(&self, pod: &Pod, old: Option<&PodStatus>, now: Timestamp) -> PodStatus {
        let (phase, reason, message) = self.phase();
        let over = matches!(phase, "Succeeded" | "Failed");
        let containers_ready = !over && self.containers.iter().all(|report| report.ready);
        let unready = || {
            let names: Vec<&str> = self
                .containers
                .iter()
                .filter(|report| !report.ready)
                .map(|report| report.name.as_str())
                .collect();
            if over {
                "PodCompleted".to_owned()
            } else {
                format!("containers with unready status: [{}]", names.join(" "))
            }
        };
        let condition = |kind: &str, holds: bool| {
            let status = if holds { "True" } else { "False" };
            let before = old.iter().flat_map(|old| old.conditions.iter().flatten());
            let since = before
                .clone()
                .find(|condition| condition.type_ == kind && condition.status == status);
            PodCondition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                last_transition_time: since.map_or_else(
                    || Some(Time(now)),
                    |condition| condition.last_transition_time.clone(),
                ),
                reason: (!holds).then(|| {
                    if over {
                        "PodCompleted"
                    } else {
                        "ContainersNotReady"
                    }
                    .to_owned()
                }),
                message: (!holds).then(unready),
                ..PodCondition::default()
            }
        };
        PodStatus {
            phase: Some(phase.to_owned()),
            reason,
            message,
            host_ip: Some(ADDRESS.to_owned()),
            host_ips: Some(vec![HostIP {
                ip: ADDRESS.to_owned(),
            }]),
            pod_ip: Some(ADDRESS.to_owned()),
            pod_ips: Some(vec![PodIP {
                ip: ADDRESS.to_owned(),
            }]),
            start_time: Some(Time(self.started_at)),
            observed_generation: pod.metadata.generation,
            conditions: Some(vec![
                condition("PodScheduled", true),
                condition("Initialized", self.initialized),
                condition("Ready", self.initialized && containers_ready),
                condition("ContainersReady", containers_ready),
            ]),
            init_container_statuses: (!self.inits.is_empty())
                .then(|| self.inits.iter().map(ContainerReport::status).collect()),
            container_statuses: Some(
                self.containers
                    .iter()
                    .map(ContainerReport::status)
                    .collect(),
            ),
            ..PodStatus::default()
        }
    }

    fn phase(&self) -> (&'static str, Option<String>, Option<String>) {
        if let Some(over) = &self.over {
            return over.clone();
        }
        let has_run = |report: &ContainerReport| {
            report.state.waiting.is_none() || report.last_state.is_some()
        };
        let phase = if self.initialized && self.containers.iter().all(has_run) {
            "Running"
        } else {
            "Pending"
        };
        (phase, None, None)
    }

    /// How the pod ends when none of its containers runs any more.
    pub(super) fn outcome(&self) -> &'static str {
        let failed =
            |report: &ContainerReport| report.terminated().is_none_or(|state| state.exit_code != 0);
        if self.containers.iter().any(failed) {
            "Failed"
        } else {
            "Succeeded"
        }
    }
}

/// The state of a container that is not running yet, or not at the moment.
pub(super) fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = ContainerStateWaiting {
        reason: Some(reason.to_owned()),
        message,
    };
    ContainerState {
        waiting: Some(waiting),
        ..ContainerState::default()
    }
}

/// The state of a container that is running.
pub(super) fn running(since: Timestamp) -> ContainerState {
    let running = ContainerStateRunning {
        started_at: Some(Time(since)),
    };
    ContainerState {
        running: Some(running),
        ..ContainerState::default()
    }
}

/// The state of a container that has ended.
pub(super) fn terminated(
    code: i32,
    since: Timestamp,
    until: Timestamp,
    message: Option<String>,
    id: Option<String>,
) -> ContainerState {
    let reason = if code == 0 { "Completed" } else { "Error" };
    let terminated = ContainerStateTerminated {
        exit_code: code,
        reason: Some(reason.to_owned()),
        message,
        started_at: Some(Time(since)),
        finished_at: Some(Time(until)),
        container_id: id,
        ..ContainerStateTerminated::default()
    };
    ContainerState {
        terminated: Some(terminated),
        ..ContainerState::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports() -> PodReport {
        PodReport {
            started_at: Timestamp::UNIX_EPOCH,
            initialized: true,
            inits: Vec::new(),
            containers: vec![ContainerReport::new("function", None, "ContainerCreating")],
            over: None,
        }
    }

    fn ready(status: &PodStatus) -> &PodCondition {
        status
            .conditions
            .as_ref()
            .unwrap()
            .iter()
            .find(|condition| condition.type_ == "Ready")
            .unwrap()
    }

    #[test]
    fn a_pod_is_pending_then_running_then_ready() {
        let mut reports = reports();
        let status = reports.status(&Pod::default(), None, Timestamp::UNIX_EPOCH);
        assert_eq!(status.phase.as_deref(), Some("Pending"));
        assert_eq!(
            ready(&status).message.as_deref(),
            Some("containers with unready status: [function]")
        );

        reports.containers[0].state = running(Timestamp::UNIX_EPOCH);
        reports.containers[0].ready = true;
        let status = reports.status(&Pod::default(), Some(&status), Timestamp::MAX);
        assert_eq!(status.phase.as_deref(), Some("Running"));
        assert_eq!(ready(&status).status, "True");
        assert_eq!(
            ready(&status).last_transition_time,
            Some(Time(Timestamp::MAX))
        );
    }

    #[test]
    fn a_crash_loop_is_running_and_not_ready() {
        let mut reports = reports();
        reports.containers[0].last_state = Some(terminated(
            1,
            Timestamp::UNIX_EPOCH,
            Timestamp::UNIX_EPOCH,
            None,
            None,
        ));
        reports.containers[0].state = waiting("CrashLoopBackOff", None);
        let status = reports.status(&Pod::default(), None, Timestamp::UNIX_EPOCH);
        assert_eq!(status.phase.as_deref(), Some("Running"));
        assert_eq!(ready(&status).status, "False");
    }
}
