//! Which probes a function's container has. The operator puts them into the pod and the gateway looks at the
//! same ones, so both take the decision here.

use k8s_openapi::{
    api::core::v1::{Probe, TCPSocketAction},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::Value;

use crate::{Template, names};

/// What a probe does, by the name of the field.
const HANDLERS: [&str; 4] = ["exec", "grpc", "httpGet", "tcpSocket"];

/// When the container is ready: the readiness probe of the manifest, with that of `podTemplate` merged over it
/// as in the pod. Where both say only how often and how long, or nothing, that the port accepts a
/// connection.
#[must_use]
pub fn readiness(template: &Template) -> Probe {
    let given = template.readiness_probe.as_ref();
    let mut probe = merged(given, template, "readinessProbe").unwrap_or_default();
    let silent = probe.exec.is_none()
        && probe.grpc.is_none()
        && probe.http_get.is_none()
        && probe.tcp_socket.is_none();
    if silent {
        probe.tcp_socket = Some(TCPSocketAction {
            host: None,
            port: IntOrString::String(names::PORT_NAME.to_owned()),
        });
    }
    probe
}

/// When the container has started: the startup probe, found as [`readiness`] is. Without one it has started
/// at once.
#[must_use]
pub fn startup(template: &Template) -> Option<Probe> {
    merged(template.startup_probe.as_ref(), template, "startupProbe")
}

/// A probe of the manifest with that of the pod template over it: one that says what it does takes its place, any
/// other changes its numbers. What cannot be read is refused by the operator, and changes nothing here.
fn merged(given: Option<&Probe>, template: &Template, field: &str) -> Option<Probe> {
    let Some(Value::Object(over)) = overlay(template, field) else {
        return given.cloned();
    };
    let base = given.and_then(|probe| serde_json::to_value(probe).ok());
    let merged = match base {
        Some(Value::Object(mut base)) if !HANDLERS.iter().any(|kind| over.contains_key(*kind)) => {
            base.extend(over.clone());
            base
        }
        _ => over.clone(),
    };
    serde_json::from_value(Value::Object(merged))
        .ok()
        .or_else(|| given.cloned())
}

/// A field of the function's container in the pod template.
fn overlay<'a>(template: &'a Template, field: &str) -> Option<&'a Value> {
    let spec = template.pod_template.as_ref()?.get("spec")?;
    let mut containers = spec.get("containers")?.as_array()?.iter();
    let name = |container: &&Value| container["name"] == names::CONTAINER;
    containers.find(name)?.get(field)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(readiness: &Value, over: &Value) -> Template {
        serde_json::from_value(json!({
            "image": "a",
            "readinessProbe": readiness,
            "podTemplate": { "spec": { "containers": [
                { "name": "proxy", "readinessProbe": { "tcpSocket": { "port": 1 } } },
                { "name": "function", "readinessProbe": over, "startupProbe": over },
            ]}},
        }))
        .expect("a template")
    }

    fn probe(value: Value) -> Probe {
        serde_json::from_value(value).expect("a probe")
    }

    #[test]
    fn a_probe_of_the_pod_template_replaces_or_changes_the_manifests() {
        let get = json!({ "httpGet": { "port": "http", "path": "/ready" }, "periodSeconds": 3 });
        let exec = json!({ "exec": { "command": ["true"] } });
        let numbers = json!({ "periodSeconds": 7 });
        let connect = json!({ "tcpSocket": { "port": "http" } });
        let slower = json!({ "httpGet": get["httpGet"], "periodSeconds": 7 });
        let slow = json!({ "tcpSocket": { "port": "http" }, "periodSeconds": 7 });
        for (given, over, expected) in [
            (json!(null), json!(null), &connect),
            (get.clone(), json!(null), &get),
            (get.clone(), exec.clone(), &exec),
            (json!(null), exec.clone(), &exec),
            (get.clone(), numbers.clone(), &slower),
            (json!(null), numbers.clone(), &slow),
            (numbers.clone(), json!(null), &slow),
            (numbers.clone(), exec.clone(), &exec),
            // The operator refuses it.
            (get.clone(), json!({ "periodSeconds": "x" }), &get),
        ] {
            let found = readiness(&template(&given, &over));
            assert_eq!(found, probe(expected.clone()), "{given} {over}");
        }
    }

    #[test]
    fn there_is_a_startup_probe_only_where_one_is_given() {
        assert_eq!(startup(&Template::default()), None);
        let exec = json!({ "exec": { "command": ["true"] } });
        let found = startup(&template(&json!(null), &exec));
        assert_eq!(found, Some(probe(exec)));
    }
}
