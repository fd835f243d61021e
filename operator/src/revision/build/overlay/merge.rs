//! The strategic merge, and where it differs.

use serde_json::Value;

/// Lists whose items are merged, with the key that tells them apart
/// (`x-kubernetes-patch-merge-key` of the Kubernetes API).
const KEYED_LISTS: [(&str, &str); 11] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("env", "name"),
    ("volumes", "name"),
    ("imagePullSecrets", "name"),
    ("resourceClaims", "name"),
    ("ports", "containerPort"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
];

/// Lists whose items are added.
const ADDED_LISTS: [&str; 1] = ["tolerations"];

/// Lists whose items have one content of several kinds: a volume its source, a variable its value.
const EXCLUSIVE_ITEMS: [&str; 2] = ["volumes", "env"];

/// Fields that hold one of several kinds of things, and the fields that say which one. One that says
/// so takes the place of what was there; one that does not, such as a probe with thresholds alone, is
/// merged.
const EXCLUSIVE_FIELDS: [(&str, &[&str]); 7] = [
    ("readinessProbe", PROBES),
    ("livenessProbe", PROBES),
    ("startupProbe", PROBES),
    ("preStop", HOOKS),
    ("postStart", HOOKS),
    ("seccompProfile", &["type"]),
    ("appArmorProfile", &["type"]),
];

const PROBES: &[&str] = &["exec", "grpc", "httpGet", "tcpSocket"];

const HOOKS: &[&str] = &["exec", "httpGet", "sleep", "tcpSocket"];

/// The field that tells the items of a list apart.
pub(super) fn merge_key(list: &str) -> Option<&'static str> {
    let found = KEYED_LISTS.iter().find(|(name, _)| *name == list);
    found.map(|(_, key)| *key)
}

/// Merges what is given over what is there.
pub(super) fn merge(base: &mut Value, overlay: &Value) {
    let (Value::Object(base), Value::Object(overlay)) = (&mut *base, overlay) else {
        *base = overlay.clone();
        return;
    };
    for (field, value) in overlay {
        match base.get_mut(field) {
            None => {
                base.insert(field.clone(), value.clone());
            }
            Some(under) => merge_field(field, under, value),
        }
    }
}

fn merge_field(field: &str, base: &mut Value, overlay: &Value) {
    if replaces(field, overlay) {
        *base = overlay.clone();
        return;
    }
    let (Value::Array(under), Value::Array(over)) = (&mut *base, overlay) else {
        merge(base, overlay);
        return;
    };
    if ADDED_LISTS.contains(&field) {
        under.extend(over.iter().cloned());
        return;
    }
    let Some(key) = merge_key(field) else {
        *base = overlay.clone();
        return;
    };
    // Of the given items, two may well have the same key, as a port has for TCP and for UDP.
    let known = under.len();
    for item in over {
        let mut there = under.iter_mut().take(known);
        match there.find(|other| is_same(field, key, other, item)) {
            Some(place) if EXCLUSIVE_ITEMS.contains(&field) => *place = item.clone(),
            Some(place) => merge(place, item),
            None => under.push(item.clone()),
        }
    }
}

/// Whether what is given stands for itself.
fn replaces(field: &str, given: &Value) -> bool {
    let exclusive = EXCLUSIVE_FIELDS.iter().find(|(name, _)| *name == field);
    exclusive.is_some_and(|(_, kinds)| kinds.iter().any(|kind| given.get(kind).is_some()))
}

fn is_same(list: &str, key: &str, one: &Value, other: &Value) -> bool {
    fn protocol(port: &Value) -> &str {
        port["protocol"].as_str().unwrap_or("TCP")
    }
    one.get(key) == other.get(key) && (list != "ports" || protocol(one) == protocol(other))
}
