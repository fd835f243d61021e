//! What the cluster decides about a pod when it is created: its node and its ports.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, EnvVar, Pod, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::Value;

use crate::ports;

/// Name of the one node.
pub const NODE_NAME: &str = "local";

/// The variable that tells a process which address to listen on. Pods have no network of their
/// own here, so this keeps them off the machine's other interfaces.
const HOST: &str = "HOST";

/// The annotation that says which port of this machine each declared port has become, as a JSON object.
pub(crate) const PORTS: &str = "local.fermata.dev/ports";

/// Assigns a new pod to the node and gives each of its container ports a free port of this
/// machine, in `ports`, in the variable `PORT` and in probes that name the port by number. An annotation says
/// which port has become which.
///
/// # Errors
///
/// A sentence for the API's answer, when the pod cannot be read or the machine has no port left.
pub fn admit(pod: &mut Value) -> Result<(), String> {
    let mut parsed: Pod = serde_json::from_value(pod.clone())
        .map_err(|error| format!("the pod cannot be read: {error}"))?;
    let spec = parsed.spec.get_or_insert_default();
    spec.node_name.get_or_insert_with(|| NODE_NAME.to_owned());
    let inits = spec.init_containers.iter_mut().flatten();
    let mut all = BTreeMap::new();
    for container in spec.containers.iter_mut().chain(inits) {
        for (declared, port) in assign_ports(container)? {
            all.entry(declared).or_insert(port);
        }
    }
    if !all.is_empty() {
        let ports = serde_json::to_string(&all).map_err(|error| error.to_string())?;
        let annotations = parsed.metadata.annotations.get_or_insert_default();
        annotations.insert(PORTS.to_owned(), ports);
    }
    *pod = serde_json::to_value(parsed).map_err(|error| error.to_string())?;
    Ok(())
}

fn assign_ports(container: &mut Container) -> Result<BTreeMap<i32, i32>, String> {
    let mut assigned = BTreeMap::new();
    for port in container.ports.iter_mut().flatten() {
        let free =
            ports::free().ok_or("this machine has no free port for the pod; delete some pods")?;
        assigned.insert(port.container_port, i32::from(free));
        port.container_port = i32::from(free);
    }
    let http = container
        .ports
        .iter()
        .flatten()
        .find(|port| port.name.as_deref() == Some("http"));
    let Some(main) = http
        .or_else(|| container.ports.iter().flatten().next())
        .map(|port| port.container_port)
    else {
        return Ok(assigned);
    };
    set_env(container, "PORT", main.to_string(), true);
    set_env(container, HOST, "127.0.0.1".to_owned(), false);
    let probes = [
        &mut container.readiness_probe,
        &mut container.liveness_probe,
        &mut container.startup_probe,
    ];
    for probe in probes.into_iter().flatten() {
        retarget(probe, &assigned);
    }
    Ok(assigned)
}

fn set_env(container: &mut Container, name: &str, value: String, replace: bool) {
    let env = container.env.get_or_insert_default();
    match env.iter_mut().find(|var| var.name == name) {
        Some(var) if replace => {
            *var = EnvVar {
                name: name.to_owned(),
                value: Some(value),
                value_from: None,
            }
        }
        Some(_) => {}
        None => env.push(EnvVar {
            name: name.to_owned(),
            value: Some(value),
            value_from: None,
        }),
    }
}

fn retarget(probe: &mut Probe, assigned: &BTreeMap<i32, i32>) {
    let http = probe.http_get.as_mut().map(|action| &mut action.port);
    let tcp = probe.tcp_socket.as_mut().map(|action| &mut action.port);
    for port in http.into_iter().chain(tcp) {
        if let IntOrString::Int(number) = port {
            *number = assigned.get(number).copied().unwrap_or(*number);
        }
    }
    if let Some(action) = probe.grpc.as_mut() {
        action.port = assigned.get(&action.port).copied().unwrap_or(action.port);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn admitted(container: &Value) -> Value {
        let mut pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [container]}});
        admit(&mut pod).unwrap();
        pod
    }

    #[test]
    fn a_pod_gets_a_node_and_a_port_of_its_own() {
        let container = json!({
            "name": "function", "ports": [{"name": "http", "containerPort": 8080}],
            "env": [{"name": "PORT", "value": "8080"}],
            "readinessProbe": {"httpGet": {"port": 8080, "path": "/"}},
            "livenessProbe": {"tcpSocket": {"port": "http"}},
        });
        let (one, two) = (admitted(&container), admitted(&container));
        let port = |pod: &Value| {
            pod["spec"]["containers"][0]["ports"][0]["containerPort"]
                .as_i64()
                .unwrap()
        };
        assert_ne!(port(&one), port(&two));
        assert_ne!(port(&one), 8080);
        assert_eq!(
            one["metadata"]["annotations"][PORTS],
            json!({"8080": port(&one)}).to_string()
        );

        let function = &one["spec"]["containers"][0];
        assert_eq!(one["spec"]["nodeName"], NODE_NAME);
        assert_eq!(
            function["env"],
            json!([
                {"name": "PORT", "value": port(&one).to_string()}, {"name": "HOST", "value": "127.0.0.1"},
            ])
        );
        assert_eq!(function["readinessProbe"]["httpGet"]["port"], port(&one));
        assert_eq!(function["livenessProbe"]["tcpSocket"]["port"], "http");
    }

    #[test]
    fn a_host_that_the_manifest_gives_stays() {
        let pod = admitted(&json!({
            "name": "function", "ports": [{"containerPort": 80}], "env": [{"name": "HOST", "value": "::1"}],
        }));
        assert_eq!(
            pod["spec"]["containers"][0]["env"][0],
            json!({"name": "HOST", "value": "::1"})
        );
    }

    #[test]
    fn a_container_without_ports_stays_as_it_is() {
        let container = json!({"name": "worker"});
        assert_eq!(admitted(&container)["spec"]["containers"][0], container);
    }
}
