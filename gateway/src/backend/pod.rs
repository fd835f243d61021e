//! What the gateway keeps of a Pod.

use std::net::{IpAddr, SocketAddr};

use fermata_crds::{
    names::{CONTAINER, DRAINING_ANNOTATION, PORT_NAME},
    pods,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, Pod, PodCondition, PodSpec, PodStatus,
};
use kube::ResourceExt;

/// The facts of one pod that routing, waking and scaling need.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PodState {
    /// Name of the pod.
    pub(crate) name: Box<str>,
    /// Tells the pod from a later one of the same name.
    pub(crate) uid: Box<str>,
    /// Where it takes requests; unknown until the pod has an address.
    pub(crate) address: Option<SocketAddr>,
    /// The address from which it calls others; unknown if it shares that with its node.
    pub(crate) calls_from: Option<IpAddr>,
    /// The cluster's word that it is ready.
    pub(crate) ready: bool,
    /// Whether that word counts, because it says more than the gateway's own probes can: of other
    /// containers with a readiness probe, or of readiness gates.
    pub(crate) needs_ready: bool,
    /// Marked to get no new requests.
    pub(crate) draining: bool,
    /// It is being deleted.
    pub(crate) terminating: bool,
    /// Seconds for which it still takes requests while it is being deleted (its preStop sleep).
    pub(crate) linger_seconds: u32,
    /// It has ended for good.
    pub(crate) ended: bool,
    /// How often the function's container was restarted.
    pub(crate) restarts: u32,
    /// Why the cluster finds no node for it, and since when.
    pub(crate) unschedulable: Option<(Timestamp, Box<str>)>,
    /// What keeps its containers from running.
    pub(crate) trouble: Option<Trouble>,
}

/// What keeps a container from running.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Trouble {
    /// Name of the container.
    pub(crate) container: Box<str>,
    /// The cluster's word for it, such as ErrImagePull.
    pub(crate) reason: Box<str>,
    /// The cluster's sentence; may be empty.
    pub(crate) message: Box<str>,
    /// How its last run ended, if there was one.
    pub(crate) last_exit: Option<Box<str>>,
}

// === impl PodState ===

impl PodState {
    /// The facts of the pod, and the name of its Revision. `None` if it is no function's pod.
    #[must_use]
    pub(crate) fn of(pod: &Pod) -> Option<(String, Self)> {
        let revision = pods::revision_of(&pod.metadata)?.to_owned();
        let status = pod.status.as_ref();
        let spec = pod.spec.as_ref();
        let container = spec.and_then(function_container);
        let ip = status
            .and_then(|status| status.pod_ip.as_deref())
            .and_then(|ip| ip.parse::<IpAddr>().ok());
        let state = Self {
            name: pod.name_any().into(),
            uid: pod.metadata.uid.clone().unwrap_or_default().into(),
            address: ip.zip(container.and_then(http_port)).map(SocketAddr::from),
            calls_from: ip
                .filter(|_| spec.is_some_and(|spec| spec.host_network != Some(true)))
                .map(|ip| ip.to_canonical()),
            ready: condition(status, "Ready").is_some_and(|ready| ready.status == "True"),
            needs_ready: spec.is_some_and(needs_ready),
            draining: pod.annotations().contains_key(DRAINING_ANNOTATION),
            terminating: pod.metadata.deletion_timestamp.is_some(),
            linger_seconds: container.map_or(0, linger_seconds),
            ended: status
                .and_then(|status| status.phase.as_deref())
                .is_some_and(|phase| matches!(phase, "Failed" | "Succeeded")),
            restarts: function_status(status)
                .map_or(0, |status| u32::try_from(status.restart_count).unwrap_or(0)),
            unschedulable: condition(status, "PodScheduled").and_then(unschedulable),
            trouble: trouble(status),
        };
        Some((revision, state))
    }
}

fn function_container(spec: &PodSpec) -> Option<&Container> {
    spec.containers
        .iter()
        .find(|container| container.name == CONTAINER)
}

/// Whether the pod can be unready for another reason than the function's own container.
fn needs_ready(spec: &PodSpec) -> bool {
    let gates = spec.readiness_gates.as_deref().unwrap_or_default();
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let mut others = spec.containers.iter().chain(init);
    !gates.is_empty()
        || others.any(|other| other.name != CONTAINER && other.readiness_probe.is_some())
}

fn http_port(container: &Container) -> Option<u16> {
    let ports = container.ports.as_deref().unwrap_or_default();
    ports
        .iter()
        .find(|port| port.name.as_deref() == Some(PORT_NAME))
        .and_then(|port| u16::try_from(port.container_port).ok())
        .filter(|port| *port != 0)
}

fn linger_seconds(container: &Container) -> u32 {
    let sleep = container
        .lifecycle
        .as_ref()
        .and_then(|lifecycle| lifecycle.pre_stop.as_ref())
        .and_then(|hook| hook.sleep.as_ref());
    sleep.map_or(0, |sleep| u32::try_from(sleep.seconds).unwrap_or(0))
}

fn condition<'a>(status: Option<&'a PodStatus>, kind: &str) -> Option<&'a PodCondition> {
    let conditions = status?.conditions.as_deref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

fn unschedulable(scheduled: &PodCondition) -> Option<(Timestamp, Box<str>)> {
    let hopeless =
        scheduled.status == "False" && scheduled.reason.as_deref() == Some("Unschedulable");
    hopeless.then(|| {
        let since = scheduled
            .last_transition_time
            .as_ref()
            .map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        (since, scheduled.message.clone().unwrap_or_default().into())
    })
}

fn function_status(status: Option<&PodStatus>) -> Option<&ContainerStatus> {
    let statuses = status?.container_statuses.as_deref()?;
    statuses.iter().find(|status| status.name == CONTAINER)
}

/// The first trouble of a container; init containers run first, so they are looked at first.
fn trouble(status: Option<&PodStatus>) -> Option<Trouble> {
    let status = status?;
    let init = status.init_container_statuses.as_deref();
    let main = status.container_statuses.as_deref();
    init.unwrap_or_default()
        .iter()
        .chain(main.unwrap_or_default())
        .find_map(container_trouble)
}

fn container_trouble(status: &ContainerStatus) -> Option<Trouble> {
    let now = status.state.as_ref()?;
    let last = status.last_state.as_ref();
    let ended = now
        .terminated
        .as_ref()
        .or_else(|| last.and_then(|state| state.terminated.as_ref()));
    let last_exit = ended.map(|end| {
        let detail = end.message.as_deref().or(end.reason.as_deref());
        let detail = detail.unwrap_or_default().trim();
        match end.signal {
            Some(signal) => format!("killed by signal {signal}: {detail}"),
            None => format!("exit code {}: {detail}", end.exit_code),
        }
        .trim_end_matches(": ")
        .into()
    });
    let (reason, message) = if let Some(waiting) = &now.waiting {
        (waiting.reason.as_deref()?, waiting.message.as_deref())
    } else {
        let end = now.terminated.as_ref().filter(|end| end.exit_code != 0)?;
        (
            end.reason.as_deref().unwrap_or("Error"),
            end.message.as_deref(),
        )
    };
    Some(Trouble {
        container: status.name.as_str().into(),
        reason: reason.into(),
        message: message.unwrap_or_default().trim().into(),
        last_exit,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": "hello-00001-abc", "uid": "1",
                "labels": { "fermata.dev/revision": "hello-00001", "pod-template-hash": "abc" },
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "hello-00001-abc",
                    "uid": "2", "controller": true,
                }],
            },
            "spec": { "containers": [
                { "name": "side", "ports": [{ "name": "http", "containerPort": 1 }] },
                {
                    "name": "function",
                    "ports": [{ "name": "http", "containerPort": 8080 }],
                    "lifecycle": { "preStop": { "sleep": { "seconds": 5 } } },
                },
            ]},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn the_address_is_the_pods_ip_and_the_functions_http_port() {
        let (revision, state) = PodState::of(&pod(json!({
            "podIP": "fd00::7",
            "conditions": [{ "type": "Ready", "status": "True" }],
        })))
        .unwrap();
        assert_eq!(revision, "hello-00001");
        assert_eq!(state.address, Some("[fd00::7]:8080".parse().unwrap()));
        assert!(state.ready);
        assert_eq!(state.linger_seconds, 5);
        assert_eq!(state.trouble, None);
    }

    #[test]
    fn a_waiting_reason_and_the_last_exit_are_kept() {
        let (_, state) = PodState::of(&pod(json!({
            "containerStatuses": [{
                "name": "function", "image": "", "imageID": "", "ready": false, "restartCount": 2,
                "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 20s" } },
                "lastState": { "terminated": { "exitCode": 3, "message": "no such file\n" } },
            }],
        })))
        .unwrap();
        assert_eq!(state.restarts, 2);
        let trouble = state.trouble.unwrap();
        assert_eq!(&*trouble.reason, "CrashLoopBackOff");
        assert_eq!(
            trouble.last_exit.as_deref(),
            Some("exit code 3: no such file")
        );
    }

    #[test]
    fn the_readiness_of_the_rest_of_the_pod_counts() {
        let needs_ready = |change: serde_json::Value| {
            let mut pod = serde_json::to_value(pod(json!({}))).unwrap();
            for (field, value) in change.as_object().unwrap() {
                pod["spec"][field] = value.clone();
            }
            let pod: Pod = serde_json::from_value(pod).unwrap();
            PodState::of(&pod).unwrap().1.needs_ready
        };
        let function = json!({ "name": "function", "readinessProbe": { "exec": {} } });
        let proxy = json!({ "name": "proxy", "readinessProbe": { "tcpSocket": { "port": 1 } } });
        assert!(!needs_ready(json!({})));
        assert!(!needs_ready(json!({ "containers": [function] })));
        assert!(needs_ready(json!({ "containers": [function, proxy] })));
        assert!(needs_ready(json!({ "initContainers": [proxy] })));
        let gates = json!([{ "conditionType": "example.com/ready" }]);
        assert!(needs_ready(json!({ "readinessGates": gates })));
    }

    #[test]
    fn odd_values_are_taken_as_unknown() {
        let (_, state) = PodState::of(&pod(json!({
            "podIP": "not an address",
            "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "SchedulingGated" }],
        })))
        .unwrap();
        assert_eq!(state.address, None);
        assert_eq!(state.unschedulable, None);
        assert_eq!(PodState::of(&Pod::default()), None);
    }
}
