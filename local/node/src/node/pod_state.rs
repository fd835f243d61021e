//! What is known of a pod's containers.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::sync::Notify;

use super::status::{ContainerReport, PodReport};

/// What is known of the pod's containers, shared by their tasks.
pub(super) struct PodState {
    reports: Mutex<PodReport>,
    pub(super) changed: Notify,
}

// === impl PodState ===

impl PodState {
    /// As the pod begins.
    pub(super) fn new(pod: &Pod) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let report = |reason: &'static str| {
            move |container: &Container| {
                ContainerReport::new(&container.name, container.image.as_deref(), reason)
            }
        };
        let inits: Vec<ContainerReport> = spec
            .init_containers
            .iter()
            .flatten()
            .map(report("PodInitializing"))
            .collect();
        let first = if inits.is_empty() {
            "ContainerCreating"
        } else {
            "PodInitializing"
        };
        let reports = PodReport {
            started_at: Timestamp::now(),
            initialized: inits.is_empty(),
            containers: spec.containers.iter().map(report(first)).collect(),
            inits,
            over: None,
        };
        Self {
            reports: Mutex::new(reports),
            changed: Notify::new(),
        }
    }

    /// Changes what is known of one container.
    pub(super) fn update(&self, container: &str, change: impl FnOnce(&mut ContainerReport)) {
        self.change(|reports| {
            if let Some(report) = reports
                .inits
                .iter_mut()
                .chain(&mut reports.containers)
                .find(|report| report.name == container)
            {
                change(report);
            }
        });
    }

    /// Changes what is known, and tells who publishes it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut PodReport) -> T) -> T {
        let value = change(&mut self.reports.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
        value
    }

    /// What is known now.
    pub(super) fn snapshot(&self) -> PodReport {
        self.reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
