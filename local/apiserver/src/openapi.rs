//! OpenAPI v3: an index, and one document per group and version. `kubectl explain` reads the
//! schemas; `kubectl apply` reads from the paths which parameters the server knows. Of version 2 there is only
//! what kubectl needs.

mod v2;

use std::{
    collections::{BTreeSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
};

use http::{HeaderMap, Response};
use serde_json::{Map, Value, json};

use crate::{
    discovery::VERSION,
    kinds::schemas::builtins,
    media,
    resource::{Resource, registry::Registry},
    response::{self, Body},
    status::Failure,
};

const PREFIX: &str = "/openapi/v3";

/// Parameters that `kubectl` looks for.
const PARAMETERS: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];

/// The documents; `None` when the path is another's.
pub(crate) fn answer(
    path: &str,
    headers: &HeaderMap,
    registry: &Registry,
) -> Option<Result<Response<Body>, Failure>> {
    if path.trim_end_matches('/') == v2::PATH {
        return Some(Ok(v2::answer(headers, registry)));
    }
    let below = path.strip_prefix(PREFIX)?.trim_matches('/');
    if below.is_empty() {
        return Some(Ok(response::value(200, &index(registry))));
    }
    let segments: Vec<&str> = below.split('/').collect();
    let (group, version) = match segments.as_slice() {
        ["api", version] => ("", *version),
        ["apis", group, version] => (*group, *version),
        _ => return Some(Err(Failure::no_such_path())),
    };
    let resources = registry.of(group, version);
    if resources.is_empty() {
        return Some(Err(Failure::no_such_path()));
    }
    let resources: Vec<&Resource> = resources.into_iter().map(AsRef::as_ref).collect();
    Some(Ok(response::value(200, &document(&resources))))
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for (group, versions) in registry.groups() {
        for version in versions {
            // Clients keep a document until its hash changes.
            let mut hasher = DefaultHasher::new();
            VERSION.hash(&mut hasher);
            for resource in registry.of(group, version) {
                resource.definition.hash(&mut hasher);
                if let Some(custom) = &resource.custom {
                    custom.published.to_string().hash(&mut hasher);
                }
            }
            let path = root(group, version);
            let url = format!("{PREFIX}/{path}?hash={:016X}", hasher.finish());
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

fn document(resources: &[&Resource]) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for resource in resources {
        describe(resource, &mut paths);
        let own = resource
            .custom
            .as_ref()
            .map(|custom| custom.published.clone());
        let mut schema = own
            .or_else(|| builtins().published.get(&resource.definition).cloned())
            .unwrap_or_else(|| json!({"type": "object"}));
        schema["x-kubernetes-group-version-kind"] = json!([kind(resource)]);
        schemas.insert(resource.definition.clone(), schema);
    }
    close(&mut schemas);
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

/// Adds every schema that is referred to.
fn close(schemas: &mut Map<String, Value>) {
    let mut open: Vec<String> = schemas.values().flat_map(references).collect();
    while let Some(name) = open.pop() {
        if schemas.contains_key(&name) {
            continue;
        }
        if let Some(schema) = builtins().published.get(&name) {
            open.extend(references(schema));
            schemas.insert(name, schema.clone());
        }
    }
}

fn references(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(schema, &mut found);
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, child) in fields {
                match child
                    .as_str()
                    .and_then(|text| text.strip_prefix("#/components/schemas/"))
                {
                    Some(target) if name == "$ref" => {
                        found.insert(target.to_owned());
                    }
                    _ => collect(child, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

fn kind(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

/// The path of a resource's objects.
fn base(resource: &Resource) -> String {
    let scope = if resource.namespaced {
        "namespaces/{namespace}/"
    } else {
        ""
    };
    let root = root(&resource.group, &resource.version);
    format!("/{root}/{scope}{}", resource.plural)
}

/// The path of one object.
fn path_of(resource: &Resource) -> String {
    format!("{}/{{name}}", base(resource))
}

fn describe(resource: &Resource, paths: &mut Map<String, Value>) {
    let base = base(resource);
    paths.insert(
        base.clone(),
        json!({
            "get": operation(resource, "list"),
            "post": operation(resource, "post"),
            "delete": operation(resource, "deletecollection"),
        }),
    );
    let one = json!({
        "get": operation(resource, "get"),
        "put": operation(resource, "put"),
        "patch": operation(resource, "patch"),
        "delete": operation(resource, "delete"),
    });
    paths.insert(path_of(resource), one);
    if resource.subresources.status {
        paths.insert(
            format!("{base}/{{name}}/status"),
            json!({
                "get": operation(resource, "get"),
                "put": operation(resource, "put"),
                "patch": operation(resource, "patch"),
            }),
        );
    }
}

fn operation(resource: &Resource, action: &str) -> Value {
    let reference = json!({"$ref": format!("#/components/schemas/{}", resource.definition)});
    let content = json!({"application/json": {"schema": reference}});
    let mut operation = json!({
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind(resource),
        "responses": {"200": {"description": "OK", "content": content}},
    });
    if matches!(action, "post" | "put" | "patch") {
        let parameters: Vec<Value> = PARAMETERS
            .iter()
            .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}}))
            .collect();
        operation["parameters"] = parameters.into();
    }
    let body: Vec<&str> = match action {
        "post" | "put" => vec!["application/json", "application/yaml"],
        "patch" if resource.custom.is_some() => {
            vec![media::JSON_PATCH, media::MERGE_PATCH, media::APPLY_PATCH]
        }
        "patch" => vec![
            media::JSON_PATCH,
            media::MERGE_PATCH,
            media::STRATEGIC_MERGE_PATCH,
            media::APPLY_PATCH,
        ],
        _ => Vec::new(),
    };
    if !body.is_empty() {
        let content: Map<String, Value> = body
            .into_iter()
            .map(|media| (media.to_owned(), json!({"schema": {"type": "object"}})))
            .collect();
        operation["requestBody"] = json!({"content": content});
    }
    operation
}
