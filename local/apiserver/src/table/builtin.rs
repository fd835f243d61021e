//! The columns of the built-in kinds, as a real API server gives them.

use serde_json::Value;

use super::{Column, event, pod};

fn text(name: &str, cell: fn(&Value) -> Value) -> Column {
    Column::new(name, "string", cell)
}

fn number(name: &str, cell: fn(&Value) -> Value) -> Column {
    Column::new(name, "integer", cell)
}

fn named(columns: Vec<Column>) -> Vec<Column> {
    let mut all = vec![Column::name()];
    all.extend(columns);
    all
}

pub(crate) fn pod() -> Vec<Column> {
    named(vec![
        text("Ready", pod::ready),
        text("Status", pod::status),
        text("Restarts", pod::restarts),
        Column::age(),
        Column::wide("IP", |o| or_none(&o["status"]["podIP"])),
        Column::wide("Node", |o| or_none(&o["spec"]["nodeName"])),
        Column::wide("Nominated Node", |o| {
            or_none(&o["status"]["nominatedNodeName"])
        }),
        Column::wide("Readiness Gates", pod::gates),
    ])
}

pub(crate) fn deployment() -> Vec<Column> {
    named(vec![
        text("Ready", |o| {
            format!(
                "{}/{}",
                int(&o["status"]["readyReplicas"]),
                int(&o["spec"]["replicas"])
            )
            .into()
        }),
        number("Up-to-date", |o| {
            int(&o["status"]["updatedReplicas"]).into()
        }),
        number("Available", |o| {
            int(&o["status"]["availableReplicas"]).into()
        }),
        Column::age(),
        Column::wide("Containers", |o| containers(o, "name")),
        Column::wide("Images", |o| containers(o, "image")),
        Column::wide("Selector", |o| selector(&o["spec"]["selector"])),
    ])
}

pub(crate) fn replica_set() -> Vec<Column> {
    named(vec![
        number("Desired", |o| int(&o["spec"]["replicas"]).into()),
        number("Current", |o| int(&o["status"]["replicas"]).into()),
        number("Ready", |o| int(&o["status"]["readyReplicas"]).into()),
        Column::age(),
        Column::wide("Containers", |o| containers(o, "name")),
        Column::wide("Images", |o| containers(o, "image")),
        Column::wide("Selector", |o| selector(&o["spec"]["selector"])),
    ])
}

pub(crate) fn service() -> Vec<Column> {
    named(vec![
        text("Type", |o| o["spec"]["type"].clone()),
        text("Cluster-IP", |o| or_none(&o["spec"]["clusterIP"])),
        text("External-IP", external),
        text("Port(s)", service_ports),
        Column::age(),
        Column::wide("Selector", |o| pairs(&o["spec"]["selector"])),
    ])
}

pub(crate) fn config_map() -> Vec<Column> {
    named(vec![
        text("Data", |o| {
            (count(&o["data"]) + count(&o["binaryData"])).into()
        }),
        Column::age(),
    ])
}

pub(crate) fn secret() -> Vec<Column> {
    named(vec![
        text("Type", |o| o["type"].clone()),
        text("Data", |o| count(&o["data"]).into()),
        Column::age(),
    ])
}

pub(crate) fn namespace() -> Vec<Column> {
    named(vec![
        text("Status", |o| o["status"]["phase"].clone()),
        Column::age(),
    ])
}

pub(crate) fn node() -> Vec<Column> {
    named(vec![
        text("Status", node_status),
        text("Roles", roles),
        Column::age(),
        text("Version", |o| {
            o["status"]["nodeInfo"]["kubeletVersion"].clone()
        }),
        Column::wide("Internal-IP", |o| address(o, "InternalIP")),
        Column::wide("External-IP", |o| address(o, "ExternalIP")),
        Column::wide("OS-Image", |o| {
            or_unknown(&o["status"]["nodeInfo"]["osImage"])
        }),
        Column::wide("Kernel-Version", |o| {
            or_unknown(&o["status"]["nodeInfo"]["kernelVersion"])
        }),
        Column::wide("Container-Runtime", |o| {
            or_unknown(&o["status"]["nodeInfo"]["containerRuntimeVersion"])
        }),
    ])
}

pub(crate) fn event() -> Vec<Column> {
    vec![
        text("Last Seen", event::last_seen),
        text("Type", |o| o["type"].clone()),
        text("Reason", |o| o["reason"].clone()),
        text("Object", event::object),
        Column::wide("Subobject", event::part),
        Column::wide("Source", event::source),
        text("Message", event::message),
        Column::wide("First Seen", event::first_seen),
        Column::wide("Count", event::count),
        Column::wide("Name", |o| o["metadata"]["name"].clone()),
    ]
}

pub(crate) fn lease() -> Vec<Column> {
    named(vec![
        text("Holder", |o| o["spec"]["holderIdentity"].clone()),
        Column::age(),
    ])
}

pub(crate) fn definition() -> Vec<Column> {
    named(vec![Column::new("Created At", "date", |o| {
        o["metadata"]["creationTimestamp"].clone()
    })])
}

pub(crate) fn service_account() -> Vec<Column> {
    named(vec![
        text("Secrets", |o| count(&o["secrets"]).into()),
        Column::age(),
    ])
}

pub(crate) fn resource_quota() -> Vec<Column> {
    named(vec![
        text("Request", |o| quota(o, |name| !name.starts_with("limits."))),
        text("Limit", |o| quota(o, |name| name.starts_with("limits."))),
        Column::age(),
    ])
}

pub(crate) fn disruption_budget() -> Vec<Column> {
    named(vec![
        text("Min Available", |o| or_na(&o["spec"]["minAvailable"])),
        text("Max Unavailable", |o| or_na(&o["spec"]["maxUnavailable"])),
        number("Allowed Disruptions", |o| {
            int(&o["status"]["disruptionsAllowed"]).into()
        }),
        Column::age(),
    ])
}

pub(crate) fn ingress() -> Vec<Column> {
    named(vec![
        text("Class", |o| or_none(&o["spec"]["ingressClassName"])),
        text("Hosts", |o| {
            let hosts = join(&o["spec"]["rules"], |rule| plain(&rule["host"]));
            if hosts.is_empty() {
                "*".into()
            } else {
                hosts.into()
            }
        }),
        text("Address", |o| {
            join(&o["status"]["loadBalancer"]["ingress"], |one| {
                plain(if one["ip"].is_null() {
                    &one["hostname"]
                } else {
                    &one["ip"]
                })
            })
            .into()
        }),
        text("Ports", |o| {
            if count(&o["spec"]["tls"]) > 0 {
                "80, 443"
            } else {
                "80"
            }
            .into()
        }),
        Column::age(),
    ])
}

pub(crate) fn network_policy() -> Vec<Column> {
    named(vec![
        text("Pod-Selector", |o| selector(&o["spec"]["podSelector"])),
        Column::age(),
    ])
}

pub(crate) fn endpoint_slice() -> Vec<Column> {
    named(vec![
        text("AddressType", |o| o["addressType"].clone()),
        text("Ports", |o| {
            let ports = join(&o["ports"], |port| plain(&port["port"]));
            if ports.is_empty() {
                "<unset>".into()
            } else {
                ports.into()
            }
        }),
        text("Endpoints", |o| {
            let all = join(&o["endpoints"], |one| join(&one["addresses"], plain));
            if all.is_empty() {
                "<unset>".into()
            } else {
                all.into()
            }
        }),
        Column::age(),
    ])
}

pub(crate) fn endpoints() -> Vec<Column> {
    named(vec![
        text("Endpoints", |o| {
            let all = join(&o["subsets"], |set| {
                join(&set["addresses"], |address| {
                    join(&set["ports"], |port| {
                        format!("{}:{}", plain(&address["ip"]), plain(&port["port"]))
                    })
                })
            });
            if all.is_empty() {
                "<none>".into()
            } else {
                all.into()
            }
        }),
        Column::age(),
    ])
}

/// Of a kind that has no columns of its own.
pub(crate) fn other() -> Vec<Column> {
    named(vec![Column::age()])
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn or(value: &Value, otherwise: &str) -> Value {
    match plain(value) {
        empty if empty.is_empty() => otherwise.into(),
        text => text.into(),
    }
}

fn or_none(value: &Value) -> Value {
    or(value, "<none>")
}

fn or_unknown(value: &Value) -> Value {
    or(value, "<unknown>")
}

fn or_na(value: &Value) -> Value {
    or(value, "N/A")
}

fn join(list: &Value, each: impl Fn(&Value) -> String) -> String {
    let parts: Vec<String> = list
        .as_array()
        .into_iter()
        .flatten()
        .map(each)
        .filter(|part| !part.is_empty())
        .collect();
    parts.join(",")
}

fn containers(object: &Value, field: &str) -> Value {
    join(&object["spec"]["template"]["spec"]["containers"], |one| {
        plain(&one[field])
    })
    .into()
}

fn pairs(map: &Value) -> Value {
    let parts: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", plain(value)))
        .collect();
    or_none(&parts.join(",").into())
}

/// A label selector as text.
fn selector(selector: &Value) -> Value {
    let mut parts: Vec<String> = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", plain(value)))
        .collect();
    for one in selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let (key, values) = (plain(&one["key"]), join(&one["values"], plain));
        parts.push(match one["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key,
        });
    }
    or_none(&parts.join(",").into())
}

fn external(service: &Value) -> Value {
    match service["spec"]["type"].as_str() {
        Some("ExternalName") => or_none(&service["spec"]["externalName"]),
        _ => or_none(&join(&service["spec"]["externalIPs"], plain).into()),
    }
}

fn service_ports(service: &Value) -> Value {
    let ports = join(&service["spec"]["ports"], |port| {
        let node = match port["nodePort"].as_i64() {
            Some(node) if node > 0 => format!(":{node}"),
            _ => String::new(),
        };
        format!(
            "{}{node}/{}",
            plain(&port["port"]),
            plain(&port["protocol"])
        )
    });
    or_none(&ports.into())
}

fn node_status(node: &Value) -> Value {
    let ready = node["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready")
        .map(|condition| &condition["status"]);
    let mut status = match ready.and_then(Value::as_str) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if node["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    status.into()
}

fn roles(node: &Value) -> Value {
    let labels = node["metadata"]["labels"].as_object();
    let roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(label, _)| label.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    or_none(&roles.join(",").into())
}

fn address(node: &Value, type_: &str) -> Value {
    let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
    let found = addresses
        .filter(|address| address["type"] == type_)
        .map(|address| &address["address"])
        .next();
    or_none(found.unwrap_or(&Value::Null))
}

fn quota(object: &Value, wanted: impl Fn(&str) -> bool) -> Value {
    let hard = object["status"]["hard"].as_object();
    let parts: Vec<String> = hard
        .into_iter()
        .flatten()
        .filter(|(name, _)| wanted(name))
        .map(|(name, most)| {
            let used = plain(&object["status"]["used"][name.as_str()]);
            format!("{name}: {used}/{}", plain(most))
        })
        .collect();
    parts.join(", ").into()
}
