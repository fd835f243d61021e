//! What the schemas of k8s-openapi do not say: which lists are maps or sets, which maps and structs
//! are atomic, and what strategic merge does. From the `+listType`, `+mapType` and `patchStrategy`
//! markers of k8s.io/api.

use serde_json::{Map, Value, json};

/// Definition, field, keys of the list map (none: a set), and the strategy and key of a patch.
type Row = (
    &'static str,
    &'static str,
    &'static [&'static str],
    Option<(&'static str, &'static str)>,
);

const MERGE: &str = "merge";
const RETAIN: &str = "merge,retainKeys";

const LISTS: &[Row] = &[
    ("meta.v1.ObjectMeta", "finalizers", &[], Some((MERGE, ""))),
    (
        "meta.v1.ObjectMeta",
        "ownerReferences",
        &["uid"],
        Some((MERGE, "uid")),
    ),
    (
        "core.v1.PodSpec",
        "containers",
        &["name"],
        Some((MERGE, "name")),
    ),
    (
        "core.v1.PodSpec",
        "initContainers",
        &["name"],
        Some((MERGE, "name")),
    ),
    (
        "core.v1.PodSpec",
        "ephemeralContainers",
        &["name"],
        Some((MERGE, "name")),
    ),
    (
        "core.v1.PodSpec",
        "volumes",
        &["name"],
        Some((RETAIN, "name")),
    ),
    (
        "core.v1.PodSpec",
        "imagePullSecrets",
        &["name"],
        Some((MERGE, "name")),
    ),
    (
        "core.v1.PodSpec",
        "hostAliases",
        &["ip"],
        Some((MERGE, "ip")),
    ),
    (
        "core.v1.PodSpec",
        "schedulingGates",
        &["name"],
        Some((MERGE, "name")),
    ),
    (
        "core.v1.PodSpec",
        "resourceClaims",
        &["name"],
        Some((RETAIN, "name")),
    ),
    (
        "core.v1.PodSpec",
        "topologySpreadConstraints",
        &["topologyKey", "whenUnsatisfiable"],
        Some((MERGE, "topologyKey")),
    ),
    ("core.v1.Container", "env", &["name"], Some((MERGE, "name"))),
    (
        "core.v1.Container",
        "ports",
        &["containerPort", "protocol"],
        Some((MERGE, "containerPort")),
    ),
    (
        "core.v1.Container",
        "volumeMounts",
        &["mountPath"],
        Some((MERGE, "mountPath")),
    ),
    (
        "core.v1.Container",
        "volumeDevices",
        &["devicePath"],
        Some((MERGE, "devicePath")),
    ),
    (
        "core.v1.EphemeralContainer",
        "env",
        &["name"],
        Some((MERGE, "name")),
    ),
    (
        "core.v1.EphemeralContainer",
        "ports",
        &["containerPort", "protocol"],
        Some((MERGE, "containerPort")),
    ),
    (
        "core.v1.EphemeralContainer",
        "volumeMounts",
        &["mountPath"],
        Some((MERGE, "mountPath")),
    ),
    (
        "core.v1.EphemeralContainer",
        "volumeDevices",
        &["devicePath"],
        Some((MERGE, "devicePath")),
    ),
    ("core.v1.ResourceRequirements", "claims", &["name"], None),
    (
        "core.v1.PodStatus",
        "conditions",
        &["type"],
        Some((MERGE, "type")),
    ),
    ("core.v1.PodStatus", "podIPs", &["ip"], Some((MERGE, "ip"))),
    ("core.v1.PodStatus", "hostIPs", &["ip"], Some((MERGE, "ip"))),
    (
        "core.v1.ServiceSpec",
        "ports",
        &["port", "protocol"],
        Some((MERGE, "port")),
    ),
    (
        "core.v1.ServiceStatus",
        "conditions",
        &["type"],
        Some((MERGE, "type")),
    ),
    (
        "core.v1.ServiceAccount",
        "secrets",
        &["name"],
        Some((MERGE, "name")),
    ),
    (
        "core.v1.NamespaceStatus",
        "conditions",
        &["type"],
        Some((MERGE, "type")),
    ),
    (
        "core.v1.NodeStatus",
        "conditions",
        &["type"],
        Some((MERGE, "type")),
    ),
    (
        "core.v1.NodeStatus",
        "addresses",
        &["type"],
        Some((MERGE, "type")),
    ),
    ("core.v1.NodeSpec", "podCIDRs", &[], Some((MERGE, ""))),
    (
        "apps.v1.DeploymentStatus",
        "conditions",
        &["type"],
        Some((MERGE, "type")),
    ),
    (
        "apps.v1.ReplicaSetStatus",
        "conditions",
        &["type"],
        Some((MERGE, "type")),
    ),
    (
        "policy.v1.PodDisruptionBudgetStatus",
        "conditions",
        &["type"],
        Some((MERGE, "type")),
    ),
    ("discovery.v1.Endpoint", "addresses", &[], None),
    (
        "apiextensions.v1.CustomResourceDefinitionStatus",
        "conditions",
        &["type"],
        None,
    ),
];

const ATOMIC: &[&str] = &[
    "meta.v1.LabelSelector",
    "meta.v1.OwnerReference",
    "core.v1.ObjectReference",
    "core.v1.LocalObjectReference",
    "core.v1.TypedLocalObjectReference",
    "core.v1.SecretReference",
    "core.v1.SecretKeySelector",
    "core.v1.ConfigMapKeySelector",
    "core.v1.ObjectFieldSelector",
    "core.v1.ResourceFieldSelector",
    "core.v1.NodeSelector",
    "core.v1.NodeSelectorTerm",
    "core.v1.FileKeySelector",
];

const ATOMIC_MAPS: &[(&str, &str)] = &[
    ("core.v1.PodSpec", "nodeSelector"),
    ("core.v1.ServiceSpec", "selector"),
];

/// Defaults that take part in the key of a list item.
const KEY_DEFAULTS: &[(&str, &str, &str)] = &[
    ("core.v1.ContainerPort", "protocol", "TCP"),
    ("core.v1.ServicePort", "protocol", "TCP"),
];

/// Definitions whose values are free JSON, whatever k8s-openapi says.
const FREE: &[&str] = &[
    "apiextensions.v1.JSON",
    "apiextensions.v1.JSONSchemaPropsOrArray",
    "apiextensions.v1.JSONSchemaPropsOrBool",
    "apiextensions.v1.JSONSchemaPropsOrStringArray",
    "runtime.RawExtension",
    "meta.v1.FieldsV1",
];

/// Adds the markers to the definitions, whose names end in what the tables say.
pub(crate) fn annotate(definitions: &mut Map<String, Value>) {
    for (name, definition) in definitions.iter_mut() {
        let is = |suffix: &str| {
            name.strip_suffix(suffix)
                .is_some_and(|rest| rest.ends_with('.'))
        };
        if FREE.iter().any(|free| is(free)) {
            let description = definition["description"].take();
            *definition = json!({
                "description": description,
                "x-kubernetes-preserve-unknown-fields": true,
            });
            continue;
        }
        if ATOMIC.iter().any(|atomic| is(atomic)) {
            definition["x-kubernetes-map-type"] = json!("atomic");
        }
        let properties = &mut definition["properties"];
        for (_, field, keys, patch) in LISTS.iter().filter(|row| is(row.0)) {
            list(&mut properties[field], keys, *patch);
        }
        for (_, field) in ATOMIC_MAPS.iter().filter(|row| is(row.0)) {
            properties[field]["x-kubernetes-map-type"] = json!("atomic");
        }
        for (_, field, default) in KEY_DEFAULTS.iter().filter(|row| is(row.0)) {
            properties[field]["default"] = json!(default);
        }
        if is("apps.v1.DeploymentSpec") {
            properties["strategy"]["x-kubernetes-patch-strategy"] = json!("retainKeys");
        }
    }
}

fn list(property: &mut Value, keys: &[&str], patch: Option<(&str, &str)>) {
    if keys.is_empty() {
        property["x-kubernetes-list-type"] = json!("set");
    } else {
        property["x-kubernetes-list-type"] = json!("map");
        property["x-kubernetes-list-map-keys"] = json!(keys);
    }
    if let Some((strategy, key)) = patch {
        property["x-kubernetes-patch-strategy"] = json!(strategy);
        if !key.is_empty() {
            property["x-kubernetes-patch-merge-key"] = json!(key);
        }
    }
}
