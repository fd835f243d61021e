//! What is merged by which keys, from the markers of Kubernetes' OpenAPI documents.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::Context as _;
use serde_json::Value;

use super::{Modules, ROOTS};

const PREFIX: &str = "#/components/schemas/";

/// Definitions that Kubernetes' kinds here begin with, beyond the roots of the messages: definitions of resources
/// are never sent in protobuf.
const DEFINITIONS: &str =
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition";

/// The file of merge keys: of all roots with all that they refer to.
pub(super) fn merge_keys(modules: &Modules) -> anyhow::Result<String> {
    let schemas = read(modules)?;
    let mut wanted: BTreeSet<String> = ROOTS
        .iter()
        .flat_map(|(group, kinds)| kinds.iter().map(|kind| definition(group, kind)))
        .collect();
    wanted.insert(DEFINITIONS.to_owned());
    let mut reached = BTreeMap::new();
    while let Some(name) = wanted.pop_first() {
        let schema = schemas
            .get(&name)
            .with_context(|| format!("{name} is in no OpenAPI document"))?;
        references(schema, &mut wanted);
        reached.insert(name, schema);
        wanted.retain(|name| !reached.contains_key(name));
    }
    let defaults = key_defaults(&reached);
    let mut text = String::new();
    for (name, schema) in &reached {
        if schema["x-kubernetes-map-type"] == "atomic" {
            text += &format!("{name} - map=atomic\n");
        }
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let mut line = markers(property);
            if let Some(default) = defaults.get(&(name.clone(), field.clone())) {
                line += &format!(" default={default}");
            }
            if !line.is_empty() {
                text += &format!("{name} {field}{line}\n");
            }
        }
    }
    Ok(text)
}

fn definition(group: &str, kind: &str) -> String {
    match group {
        "meta" => format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"),
        group => format!("io.k8s.api.{group}.v1.{kind}"),
    }
}

/// The schemas of all documents.
fn read(modules: &Modules) -> anyhow::Result<BTreeMap<String, Value>> {
    let dir = modules.kubernetes.join("api/openapi-spec/v3");
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        if !file.ends_with("__v1_openapi.json") {
            continue;
        }
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut document: Value = serde_json::from_slice(&text)
            .with_context(|| format!("{} is no JSON", path.display()))?;
        if let Value::Object(schemas) = document["components"]["schemas"].take() {
            all.extend(schemas);
        }
    }
    Ok(all)
}

/// Adds the names of what a schema refers to.
fn references(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str);
            found.extend(name.and_then(|name| name.strip_prefix(PREFIX).map(str::to_owned)));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// The defaults of fields that tell the items of lists apart, by definition and field.
fn key_defaults(schemas: &BTreeMap<String, &Value>) -> BTreeMap<(String, String), Value> {
    let mut defaults = BTreeMap::new();
    let properties = schemas
        .values()
        .flat_map(|schema| schema["properties"].as_object().into_iter().flatten());
    for (_, list) in properties {
        let mut items = BTreeSet::new();
        references(&list["items"], &mut items);
        let keys = list["x-kubernetes-list-map-keys"].as_array();
        for key in keys.into_iter().flatten().filter_map(Value::as_str) {
            for item in &items {
                let default = schemas
                    .get(item)
                    .map(|item| &item["properties"][key]["default"]);
                // An empty one is what Go's zero is, and stands for a key that is not given.
                if let Some(default) = default
                    && default.as_str().is_some_and(|text| !text.is_empty())
                {
                    defaults.insert((item.clone(), key.to_owned()), default.clone());
                }
            }
        }
    }
    defaults
}

/// What a property says of merging, in the words of the file.
fn markers(property: &Value) -> String {
    let marker = |name: &str| &property[format!("x-kubernetes-{name}")];
    let mut line = String::new();
    if let Some(kind @ ("map" | "set")) = marker("list-type").as_str() {
        line += &format!(" list={kind}");
    }
    if let Some(keys) = marker("list-map-keys").as_array() {
        let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
        line += &format!(" keys={}", keys.join(","));
    }
    for (name, marked) in [
        ("map", "map-type"),
        ("patch", "patch-strategy"),
        ("merge", "patch-merge-key"),
    ] {
        if let Some(value) = marker(marked).as_str().filter(|value| *value != "granular") {
            line += &format!(" {name}={value}");
        }
    }
    line
}
