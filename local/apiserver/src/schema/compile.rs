//! From a JSON schema to a [`Node`].

use std::collections::{BTreeMap, BTreeSet};

use regex::RegexBuilder;
use serde_json::Value;

use super::{Limits, ListKind, Node, Patch, SchemaRef, Type};

/// A schema that makes no sense.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum CompileError {
    #[error("{path}: the pattern {pattern:?} is no regular expression: {what}")]
    Pattern {
        path: String,
        pattern: String,
        what: String,
    },
    #[error("{path}: schemas may be nested at most {MAX_DEPTH} deep")]
    TooDeep { path: String },
}

/// Bound on the nesting of a schema, the same as for rules.
const MAX_DEPTH: usize = 64;

/// Bound on a compiled pattern, so that a definition cannot take all memory.
const MAX_PATTERN_BYTES: usize = 1024 * 1024;

/// Compiles a schema. References must lead to `#/components/schemas/`.
pub(crate) fn compile(schema: &Value) -> Result<Node, CompileError> {
    node(schema, "", 0)
}

fn link(schema: &Value, path: &str, depth: usize) -> Result<SchemaRef, CompileError> {
    if let Some(name) = reference(schema) {
        return Ok(SchemaRef::Named(name.to_owned()));
    }
    Ok(SchemaRef::Inline(Box::new(node(schema, path, depth)?)))
}

/// The name that a schema refers to, be it alone or beside a description.
fn reference(schema: &Value) -> Option<&str> {
    let target =
        schema
            .get("$ref")
            .or_else(|| match schema.get("allOf")?.as_array()?.as_slice() {
                [only] => only.get("$ref"),
                _ => None,
            })?;
    target.as_str()?.strip_prefix("#/components/schemas/")
}

fn node(schema: &Value, path: &str, depth: usize) -> Result<Node, CompileError> {
    if depth > MAX_DEPTH {
        return Err(CompileError::TooDeep {
            path: path.to_owned(),
        });
    }
    let flag = |name: &str| schema[name].as_bool().unwrap_or(false);
    let under = |name: &str| format!("{path}.{name}");
    let many = |name: &str| -> Result<Vec<SchemaRef>, CompileError> {
        schema[name]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
            .map(|(index, branch)| link(branch, &format!("{path}.{name}[{index}]"), depth + 1))
            .collect()
    };
    let one = |name: &str| -> Result<Option<SchemaRef>, CompileError> {
        schema
            .get(name)
            .filter(|value| value.is_object())
            .map(|value| link(value, &under(name), depth + 1))
            .transpose()
    };

    let mut properties = BTreeMap::new();
    let mut replaced = BTreeSet::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.properties[{name}]");
        properties.insert(name.clone(), link(property, &path, depth + 1)?);
        if property["x-kubernetes-patch-strategy"] == "replace" {
            replaced.insert(name.clone());
        }
    }
    Ok(Node {
        type_: type_of(schema),
        format: schema["format"].as_str().map(str::to_owned),
        nullable: flag("nullable"),
        preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
        embedded: flag("x-kubernetes-embedded-resource"),
        properties,
        required: strings(&schema["required"]),
        values: match &schema["additionalProperties"] {
            Value::Bool(true) => Some(SchemaRef::Inline(Box::default())),
            _ => one("additionalProperties")?,
        },
        items: one("items")?,
        default: schema.get("default").cloned(),
        list: match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => ListKind::Set,
            Some("map") => ListKind::Map(strings(&schema["x-kubernetes-list-map-keys"])),
            _ => ListKind::Atomic,
        },
        atomic: schema["x-kubernetes-map-type"] == "atomic",
        patch: patch(schema),
        replaced,
        limits: limits(schema, path)?,
        all_of: many("allOf")?,
        any_of: many("anyOf")?,
        one_of: many("oneOf")?,
        not: one("not")?,
        root: depth == 0,
    })
}

fn type_of(schema: &Value) -> Type {
    if schema["x-kubernetes-int-or-string"] == true {
        return Type::IntOrString;
    }
    match schema["type"].as_str() {
        Some("object") => Type::Object,
        Some("array") => Type::Array,
        Some("string") => Type::String,
        Some("integer") => Type::Integer,
        Some("number") => Type::Number,
        Some("boolean") => Type::Boolean,
        _ => Type::Any,
    }
}

fn patch(schema: &Value) -> Patch {
    let strategies = schema["x-kubernetes-patch-strategy"]
        .as_str()
        .unwrap_or_default();
    Patch {
        merge: strategies.split(',').any(|strategy| strategy == "merge"),
        merge_key: schema["x-kubernetes-patch-merge-key"]
            .as_str()
            .map(str::to_owned),
    }
}

fn limits(schema: &Value, path: &str) -> Result<Limits, CompileError> {
    let number = |name: &str| schema[name].as_f64();
    let count = |name: &str| schema[name].as_u64();
    let pattern = schema["pattern"]
        .as_str()
        .map(|pattern| {
            RegexBuilder::new(pattern)
                .size_limit(MAX_PATTERN_BYTES)
                .build()
                .map_err(|error| CompileError::Pattern {
                    path: path.to_owned(),
                    pattern: pattern.to_owned(),
                    what: error.to_string(),
                })
        })
        .transpose()?;
    Ok(Limits {
        choices: schema["enum"].as_array().cloned(),
        pattern,
        minimum: number("minimum"),
        exclusive_minimum: schema["exclusiveMinimum"] == true,
        maximum: number("maximum"),
        exclusive_maximum: schema["exclusiveMaximum"] == true,
        multiple_of: number("multipleOf"),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        unique_items: schema["uniqueItems"] == true,
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
    })
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}
