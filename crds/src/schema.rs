//! The manifest of a Function as a JSON Schema, by which editors complete and check it.

use serde_json::{Map, Value, json};

use crate::{GROUP, VERSION, crd};

/// What schemas of Kubernetes say and JSON Schema does not know.
const KUBERNETES_ONLY: [&str; 8] = [
    "nullable",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

/// The JSON Schema (draft 7) of a Function's manifest. It has the fields, their types and their limits,
/// and refuses fields that do not exist; the rules between fields are the API server's alone.
#[must_use]
pub fn function() -> Value {
    let crd = crd::function();
    let version = crd.spec.versions.into_iter().next();
    let schema = version.and_then(|version| version.schema?.open_api_v3_schema);
    let mut schema = serde_json::to_value(schema).unwrap_or_default();
    translate(&mut schema);
    let spec = schema["properties"]["spec"].take();
    let text = |description: &str| json!({"type": "string", "description": description});
    let texts = |description: &str| json!({"type": "object", "description": description, "additionalProperties": {"type": "string"}});
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Function",
        "description": schema["description"],
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": false,
        "properties": {
            "apiVersion": {"const": format!("{GROUP}/{VERSION}")},
            "kind": {"const": "Function"},
            "metadata": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": text("Name of the function, unique in its namespace."),
                    "namespace": text("The namespace. Default: that of the command or the context."),
                    "labels": texts("Labels, to select by."),
                    "annotations": texts("Notes for tools."),
                },
            },
            "spec": spec,
            "status": {"description": "Written by the cluster."},
        },
    })
}

/// Says in JSON Schema what a schema of Kubernetes says.
fn translate(schema: &mut Value) {
    let Value::Object(fields) = schema else {
        if let Value::Array(several) = schema {
            several.iter_mut().for_each(translate);
        }
        return;
    };
    let says = |fields: &Map<String, Value>, name: &str| fields.get(name) == Some(&json!(true));
    let is_open = says(fields, "x-kubernetes-preserve-unknown-fields");
    if says(fields, "x-kubernetes-int-or-string") {
        fields.remove("anyOf");
        fields.insert("type".into(), json!(["integer", "string"]));
    }
    for name in KUBERNETES_ONLY {
        fields.remove(name);
    }
    // Below are schemas, and maps from names to schemas.
    for name in [
        "items",
        "additionalProperties",
        "not",
        "allOf",
        "anyOf",
        "oneOf",
    ] {
        if let Some(inner) = fields.get_mut(name) {
            translate(inner);
        }
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(translate);
        if !is_open && fields.get("type") == Some(&json!("object")) {
            fields.insert("additionalProperties".into(), json!(false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_know_the_fields_and_no_others() {
        let schema = function();
        let spec = &schema["properties"]["spec"];
        assert_eq!(spec["additionalProperties"], false);
        let scale = &spec["properties"]["scale"]["properties"];
        assert!(
            scale["min"]["description"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{scale}"
        );
        let pod_template = &spec["properties"]["podTemplate"];
        assert_eq!(pod_template["type"], "object");
        assert_eq!(pod_template.get("additionalProperties"), None);
        let text = schema.to_string();
        assert!(!text.contains("x-kubernetes"), "{text}");
        let port =
            &spec["properties"]["readinessProbe"]["properties"]["httpGet"]["properties"]["port"];
        assert_eq!(port["type"], json!(["integer", "string"]));
    }
}
