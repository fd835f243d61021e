//! The columns of pods, whose status is made up of many things.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodReadinessGate, PodStatus};

use super::{
    Columns, age,
    cells::{age, or_none, text, wide},
};

pub(crate) fn pod() -> Columns {
    Columns::named::<Pod>(vec![
        text("Ready", |pod| ready(pod).into()),
        text("Status", |pod| status(pod).into()),
        text("Restarts", |pod| restarts(pod).into()),
        age(),
        wide("IP", |pod| {
            let status = pod.status.as_ref();
            or_none(status.and_then(|status| status.pod_ip.as_deref()))
        }),
        wide("Node", |pod| {
            let spec = pod.spec.as_ref();
            or_none(spec.and_then(|spec| spec.node_name.as_deref()))
        }),
        wide("Nominated Node", |pod| {
            let status = pod.status.as_ref();
            or_none(status.and_then(|status| status.nominated_node_name.as_deref()))
        }),
        wide("Readiness Gates", |pod| gates(pod).into()),
    ])
}

fn containers(pod: &Pod) -> &[ContainerStatus] {
    let status = pod.status.as_ref();
    let statuses = status.and_then(|status| status.container_statuses.as_deref());
    statuses.unwrap_or_default()
}

/// Ready containers of all.
fn ready(pod: &Pod) -> String {
    let ready = containers(pod).iter().filter(|one| one.ready).count();
    let all = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    format!("{ready}/{all}")
}

/// The most telling reason of all that a pod has.
fn status(pod: &Pod) -> String {
    let none = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&none);
    if pod.metadata.deletion_timestamp.is_some() {
        return match status.reason.as_deref() {
            Some("NodeLost") => "Unknown",
            _ => "Terminating",
        }
        .to_owned();
    }
    if let Some(reason) = initializing(pod) {
        return reason;
    }
    let phase = status.phase.as_deref().unwrap_or("Unknown");
    let mut reason = status.reason.as_deref().unwrap_or(phase).to_owned();
    let mut is_running = false;
    for container in containers(pod).iter().rev() {
        if let Some(shown) = stopped(container, "") {
            reason = shown;
        } else if container.ready
            && container
                .state
                .as_ref()
                .is_some_and(|s| s.running.is_some())
        {
            is_running = true;
        }
    }
    // A pod that has one finished and one running container is running.
    match is_running && reason == "Completed" {
        false => reason,
        true if condition(pod, "Ready") => "Running".to_owned(),
        true => "NotReady".to_owned(),
    }
}

fn initializing(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    let init = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.init_containers.as_ref());
    let all = init.map_or(0, Vec::len);
    for (index, status) in statuses.iter().enumerate() {
        let terminated = status.state.as_ref().and_then(|s| s.terminated.as_ref());
        let is_done = terminated.is_some_and(|terminated| terminated.exit_code == 0);
        if !is_done && status.started != Some(true) {
            return Some(stopped(status, "Init:").unwrap_or_else(|| format!("Init:{index}/{all}")));
        }
    }
    None
}

/// Why a container does not run, if it does not.
fn stopped(status: &ContainerStatus, prefix: &str) -> Option<String> {
    let given = |reason: &Option<String>| reason.clone().filter(|reason| !reason.is_empty());
    let state = status.state.as_ref()?;
    if let Some(reason) = state.waiting.as_ref().and_then(|one| given(&one.reason)) {
        return (prefix.is_empty() || reason != "PodInitializing")
            .then(|| format!("{prefix}{reason}"));
    }
    let terminated = state.terminated.as_ref()?;
    if let Some(reason) = given(&terminated.reason) {
        return Some(format!("{prefix}{reason}"));
    }
    Some(match terminated.signal.filter(|signal| *signal != 0) {
        Some(signal) => format!("{prefix}Signal:{signal}"),
        None => format!("{prefix}ExitCode:{}", terminated.exit_code),
    })
}

fn condition(pod: &Pod, type_: &str) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_deref());
    let mut conditions = conditions.unwrap_or_default().iter();
    conditions.any(|condition| condition.type_ == type_ && condition.status == "True")
}

/// Restarts of all containers, and when the last one was.
fn restarts(pod: &Pod) -> String {
    let all = containers(pod).iter();
    let count: i64 = all.clone().map(|one| i64::from(one.restart_count)).sum();
    let last = all
        .filter_map(|one| {
            one.last_state
                .as_ref()?
                .terminated
                .as_ref()?
                .finished_at
                .as_ref()
        })
        .max();
    match last {
        Some(last) if count > 0 => {
            let age = age::of(Some(last.0));
            format!("{count} ({} ago)", age.as_str().unwrap_or_default())
        }
        _ => count.to_string(),
    }
}

/// Passed readiness gates of all.
fn gates(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let Some(gates) = spec.and_then(|spec| spec.readiness_gates.as_ref()) else {
        return "<none>".to_owned();
    };
    let is_passed = |gate: &&PodReadinessGate| condition(pod, &gate.condition_type);
    let passed = gates.iter().filter(is_passed).count();
    format!("{passed}/{}", gates.len())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::{Value, json};

    use super::*;

    fn read(pod: Value) -> Pod {
        serde_json::from_value(pod).expect("a pod")
    }

    #[test]
    fn the_status_is_the_most_telling_reason() {
        let with = |state: Value, ready: bool| {
            read(json!({"spec": {"containers": [{}]}, "status": {
                "phase": "Running",
                "containerStatuses": [{"ready": ready, "restartCount": 0, "state": state}],
            }}))
        };
        assert_eq!(status(&with(json!({"running": {}}), true)), "Running");
        assert_eq!(
            status(&with(
                json!({"waiting": {"reason": "CrashLoopBackOff"}}),
                false
            )),
            "CrashLoopBackOff"
        );
        assert_eq!(
            status(&with(json!({"terminated": {"exitCode": 3}}), false)),
            "ExitCode:3"
        );
        let mut gone = with(json!({"running": {}}), true);
        gone.metadata.deletion_timestamp =
            Some(Time("2024-01-01T00:00:00Z".parse().expect("a time")));
        assert_eq!(status(&gone), "Terminating");
        assert_eq!(ready(&gone), "1/1");
        let pending = read(json!({"status": {"phase": "Pending"}}));
        assert_eq!(status(&pending), "Pending");
    }

    #[test]
    fn an_init_container_that_is_not_done_is_shown() {
        let pod = read(json!({
            "spec": {"initContainers": [{}, {}]},
            "status": {"phase": "Pending", "initContainerStatuses": [
                {"state": {"terminated": {"exitCode": 0}}}, {"state": {"running": {}}},
            ]},
        }));
        assert_eq!(status(&pod), "Init:1/2");
    }
}
