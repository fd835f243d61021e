//! What the cluster decides about a pod when it is created: its node and its ports.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, EnvVar, Pod, PodSpec, Probe},
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
/// In an update, for which `live` is the pod as it is, the ports of the manifest become those that they have become
/// before: `kubectl apply` knows the numbers of the manifest only, by which it would add them anew.
///
/// # Errors
///
/// A sentence for the API's answer, when the pod cannot be read or the machine has no port left.
pub fn admit(pod: &mut Value, live: Option<&Value>) -> Result<(), String> {
    match live {
        None => admit_new(pod),
        Some(live) if pod["spec"] != live["spec"] => admit_again(pod, live),
        Some(_) => Ok(()),
    }
}

fn admit_new(pod: &mut Value) -> Result<(), String> {
    let mut parsed: Pod = serde_json::from_value(pod.clone())
        .map_err(|error| format!("the pod cannot be read: {error}"))?;
    let spec = parsed.spec.get_or_insert_default();
    spec.node_name.get_or_insert_with(|| NODE_NAME.to_owned());
    let inits = spec.init_containers.iter_mut().flatten();
    let mut all = BTreeMap::new();
    for container in spec.containers.iter_mut().chain(inits) {
        for (declared, port) in assign_ports(container, |_| {
            let free = ports::free();
            free.map(i32::from)
                .ok_or("this machine has no free port for the pod; delete some pods")
        })? {
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

fn admit_again(pod: &mut Value, live: &Value) -> Result<(), String> {
    let ports = live["metadata"]["annotations"][PORTS].as_str();
    let Some(known) = ports.and_then(|ports| serde_json::from_str(ports).ok()) else {
        return Ok(());
    };
    let known: BTreeMap<i32, i32> = known;
    let mut spec: PodSpec = serde_json::from_value(pod["spec"].clone())
        .map_err(|error| format!("the pod cannot be read: {error}"))?;
    let inits = spec.init_containers.iter_mut().flatten();
    for container in spec.containers.iter_mut().chain(inits) {
        assign_ports(container, |port| {
            Ok(known.get(&port).copied().unwrap_or(port))
        })?;
        if let Some(ports) = &mut container.ports {
            let mut kept = Vec::new();
            ports.retain(|port| {
                let new = !kept.contains(port);
                kept.push(port.clone());
                new
            });
        }
    }
    pod["spec"] = serde_json::to_value(spec).map_err(|error| error.to_string())?;
    Ok(())
}

/// Gives each port of the container its number here; tells which has become which.
fn assign_ports(
    container: &mut Container,
    number: impl Fn(i32) -> Result<i32, &'static str>,
) -> Result<BTreeMap<i32, i32>, String> {
    let mut assigned = BTreeMap::new();
    for port in container.ports.iter_mut().flatten() {
        let own = number(port.container_port)?;
        assigned.insert(port.container_port, own);
        port.container_port = own;
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
        admit(&mut pod, None).unwrap();
        pod
    }

    #[test]
    fn what_is_applied_again_stays_as_it_is() {
        let container = json!({
            "name": "function", "ports": [
                {"name": "http", "containerPort": 8080, "protocol": "TCP"},
                {"name": "metrics", "containerPort": 9090, "protocol": "TCP"},
            ],
            "env": [{"name": "PORT", "value": "8080"}],
            "readinessProbe": {"httpGet": {"port": 8080}}, "livenessProbe": {"grpc": {"port": 9090}},
        });
        let live = admitted(&container);
        // As a merge by containerPort leaves it.
        let mut merged = live.clone();
        let own = &mut merged["spec"]["containers"][0];
        let ports = own["ports"].as_array().unwrap().clone();
        own["ports"] = container["ports"].clone();
        own["ports"].as_array_mut().unwrap().extend(ports);
        own["env"][0]["value"] = "8080".into();
        own["readinessProbe"] = container["readinessProbe"].clone();
        own["livenessProbe"] = container["livenessProbe"].clone();
        admit(&mut merged, Some(&live)).unwrap();
        assert_eq!(merged, live);

        let mut other = live.clone();
        let port = json!({"name": "more", "containerPort": 7070, "protocol": "TCP"});
        let ports = &mut other["spec"]["containers"][0]["ports"];
        ports.as_array_mut().unwrap().push(port);
        let wanted = other.clone();
        admit(&mut other, Some(&live)).unwrap();
        assert_eq!(other, wanted);
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
