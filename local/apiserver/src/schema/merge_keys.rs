//! What the schemas of k8s-openapi do not say: which lists are maps or sets, which maps and structs
//! are atomic, and what strategic merge does. From Kubernetes' OpenAPI, by `cargo xtask gen`.

use serde_json::{Map, Value, json};

const MERGE_KEYS: &str = include_str!("merge_keys.txt");

/// Definitions whose values are free JSON, whatever k8s-openapi says.
const FREE: &[&str] = &[
    "apiextensions.v1.JSON",
    "apiextensions.v1.JSONSchemaPropsOrArray",
    "apiextensions.v1.JSONSchemaPropsOrBool",
    "apiextensions.v1.JSONSchemaPropsOrStringArray",
    "runtime.RawExtension",
    "meta.v1.FieldsV1",
];

/// Adds the markers to the definitions.
pub(crate) fn annotate(definitions: &mut Map<String, Value>) {
    for (name, definition) in definitions.iter_mut() {
        if FREE.iter().any(|free| is(name, free)) {
            let description = definition["description"].take();
            *definition = json!({
                "description": description,
                "x-kubernetes-preserve-unknown-fields": true,
            });
        }
    }
    for line in MERGE_KEYS.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let (Some(name), Some(field)) = (words.next(), words.next()) else {
            continue;
        };
        // Kubernetes may know definitions and fields that k8s-openapi does not.
        let Some(definition) = definitions.get_mut(name) else {
            continue;
        };
        let place = match field {
            "-" => Some(definition),
            field => definition["properties"].get_mut(field),
        };
        let Some(place) = place else { continue };
        for (marker, value) in words.filter_map(|word| word.split_once('=')) {
            mark(place, marker, value);
        }
    }
}

/// Whether the name of a definition ends in this.
fn is(name: &str, suffix: &str) -> bool {
    let rest = name.strip_suffix(suffix);
    rest.is_some_and(|rest| rest.ends_with('.'))
}

fn mark(place: &mut Value, marker: &str, value: &str) {
    match marker {
        "list" => place["x-kubernetes-list-type"] = value.into(),
        "keys" => {
            place["x-kubernetes-list-map-keys"] = value.split(',').collect::<Value>();
        }
        "map" => place["x-kubernetes-map-type"] = value.into(),
        "patch" => place["x-kubernetes-patch-strategy"] = value.into(),
        "merge" => place["x-kubernetes-patch-merge-key"] = value.into(),
        "default" => place["default"] = serde_json::from_str(value).unwrap_or_default(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::schemas::builtins;

    #[test]
    fn every_marker_is_read_and_stands_where_it_belongs() {
        for line in MERGE_KEYS.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split(' ');
            let (name, field) = (words.next().expect(line), words.next().expect(line));
            let definition = builtins().published.get(name).expect(line);
            let place = match field {
                "-" => definition,
                field => definition["properties"].get(field).expect(line),
            };
            for word in words {
                let (marker, value) = word.split_once('=').expect(line);
                let mut bare = json!({});
                mark(&mut bare, marker, value);
                assert_ne!(bare, json!({}), "{line}");
                for (name, value) in bare.as_object().expect("marked") {
                    assert_eq!(place.get(name), Some(value), "{line}");
                }
            }
        }
        let definition = |name: &str| &builtins().published[&format!("io.k8s.api.{name}")];
        let containers = &definition("core.v1.PodSpec")["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        let ports = &definition("core.v1.Container")["properties"]["ports"];
        assert_eq!(
            ports["x-kubernetes-list-map-keys"],
            json!(["containerPort", "protocol"])
        );
        let protocol = &definition("core.v1.ContainerPort")["properties"]["protocol"];
        assert_eq!(protocol["default"], "TCP");
        let strategy = &definition("apps.v1.DeploymentSpec")["properties"]["strategy"];
        assert_eq!(strategy["x-kubernetes-patch-strategy"], "retainKeys");
        let reference = definition("core.v1.LocalObjectReference");
        assert_eq!(reference["x-kubernetes-map-type"], "atomic");
    }
}
