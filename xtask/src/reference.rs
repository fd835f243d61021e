//! The manifest reference, from the schemas of the definitions.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::ResourceExt as _;

/// Types of Kubernetes itself are not spelt out beyond their own description.
const OF_KUBERNETES: [&str; 12] = [
    "env",
    "envFrom",
    "resources",
    "imagePullSecrets",
    "volumes",
    "volumeMounts",
    "readinessProbe",
    "livenessProbe",
    "startupProbe",
    "seccompProfile",
    "conditions",
    "podTemplate",
];

/// The page about all resources.
pub(crate) fn manifest() -> String {
    let mut page = String::from(
        "# Manifest reference\n\nGenerated from the types in `crds/` by `cargo xtask gen`. `kubectl explain function.spec` says the same.\n\n\
         Fields marked as *Kubernetes* are the same as in a Pod; the [Kubernetes reference](https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/) has their parts.\n",
    );
    for crd in fermata_crds::crd::all() {
        resource(&mut page, &crd);
    }
    page
}

fn resource(page: &mut String, crd: &CustomResourceDefinition) {
    let names = &crd.spec.names;
    let short = names
        .short_names
        .iter()
        .flatten()
        .map(|name| format!(", short `{name}`"))
        .collect::<String>();
    let _ = write!(
        page,
        "\n## {}\n\n`{}`, {}{short}.\n",
        names.kind,
        crd.name_any(),
        crd.spec.scope.to_lowercase()
    );
    let schema = crd
        .spec
        .versions
        .first()
        .and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    let Some(schema) = schema else { return };
    let _ = write!(page, "\n{}\n", text(schema));
    for part in ["spec", "status"] {
        if let Some(schema) = schema
            .properties
            .as_ref()
            .and_then(|properties| properties.get(part))
        {
            let _ = write!(
                page,
                "\n### {} {part}\n\n| field | type | meaning |\n|---|---|---|\n",
                names.kind
            );
            fields(page, schema, "");
            rules(page, schema);
        }
    }
}

fn fields(page: &mut String, schema: &JSONSchemaProps, prefix: &str) {
    let required = schema.required.clone().unwrap_or_default();
    for (name, field) in schema.properties.iter().flatten() {
        let path = format!("{prefix}{name}");
        let needed = if required.contains(name) {
            " (required)"
        } else {
            ""
        };
        let _ = writeln!(
            page,
            "| `{path}`{needed} | {} | {} |",
            kind(name, field),
            text(field).replace('|', "\\|")
        );
        if OF_KUBERNETES.contains(&name.as_str()) {
            continue;
        }
        fields(page, field, &format!("{path}."));
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &field.items {
            fields(page, items, &format!("{path}[]."));
        }
    }
}

fn kind(name: &str, schema: &JSONSchemaProps) -> String {
    if OF_KUBERNETES.contains(&name) {
        return "*Kubernetes*".to_owned();
    }
    let own = schema.type_.clone().unwrap_or_default();
    if let Some(values) = &schema.enum_ {
        let values: Vec<String> = values
            .iter()
            .map(|value| value.0.to_string().replace('"', ""))
            .filter(|value| value != "null")
            .collect();
        return values.join(", ");
    }
    match (&schema.items, &schema.additional_properties) {
        (Some(JSONSchemaPropsOrArray::Schema(items)), _) => {
            format!("list of {}", items.type_.clone().unwrap_or_default())
        }
        (_, Some(JSONSchemaPropsOrBool::Schema(values))) => {
            format!("map of {}", values.type_.clone().unwrap_or_default())
        }
        _ => own,
    }
}

fn text(schema: &JSONSchemaProps) -> String {
    schema
        .description
        .clone()
        .unwrap_or_default()
        .replace('\n', " ")
}

/// The sentences of all rules below a schema.
fn rules(page: &mut String, schema: &JSONSchemaProps) {
    let mut sentences = Vec::new();
    collect(schema, "", &mut sentences);
    if sentences.is_empty() {
        return;
    }
    page.push_str("\nThe API server refuses a manifest that breaks a rule:\n\n");
    for (path, sentence) in sentences {
        let place = if path.is_empty() {
            String::new()
        } else {
            format!("`{path}`: ")
        };
        let _ = writeln!(page, "- {place}{sentence}");
    }
}

fn collect(schema: &JSONSchemaProps, path: &str, sentences: &mut Vec<(String, String)>) {
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        sentences.push((path.to_owned(), rule.message.clone().unwrap_or_default()));
    }
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    for (name, field) in schema.properties.iter().flatten() {
        collect(field, &below(name), sentences);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        collect(items, &format!("{path}[]"), sentences);
    }
}
