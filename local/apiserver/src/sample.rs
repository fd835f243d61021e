//! Objects made up from the schemas of the kinds, odd ones included, for property tests.

use std::sync::LazyLock;

pub(crate) use fermata_crds::sample::{Choices, anything, chosen_by, integer, pick, words};
use serde_json::{Map, Value, json};

use crate::{
    resource::{Resource, registry::Registry},
    schema::{NodeRef, Type},
};

/// How deep values that have a schema go.
const DEEPEST: usize = 12;

/// Fields that tell items of lists apart: there are few values, so that some are met again.
const KEYS: [&str; 8] = [
    "name",
    "key",
    "type",
    "protocol",
    "containerPort",
    "port",
    "mountPath",
    "uid",
];

/// What amounts of resources look like, or nearly so.
const AMOUNTS: [&str; 10] = [
    "0",
    "1",
    "500m",
    "1.5Gi",
    "1e3",
    "-1",
    "100Ei",
    "0.1",
    "1.0000000001",
    "x",
];

/// The built-in resources.
pub(crate) static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::builtin);

/// One of them.
pub(crate) fn resource(choose: Choices<'_>) -> &'static Resource {
    let number = choose(REGISTRY.all().count());
    REGISTRY.all().nth(number).expect("there are so many")
}

/// An object of a resource, with a name.
pub(crate) fn object(resource: &Resource, choose: Choices<'_>) -> Value {
    let mut object = value(resource.schema.at_root(), 0, choose);
    object["apiVersion"] = resource.api_version().into();
    object["kind"] = resource.kind.clone().into();
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    object["metadata"]["name"] = "a".into();
    if resource.namespaced {
        object["metadata"]["namespace"] = "default".into();
    }
    object
}

/// A value that fits the types of its schema, if not its bounds.
pub(crate) fn value(at: NodeRef<'_>, depth: usize, choose: Choices<'_>) -> Value {
    let Some(node) = at.node.filter(|_| depth < DEEPEST) else {
        return anything(2, choose);
    };
    match node.type_ {
        Type::Object => Value::Object(fields(at, depth, choose)),
        Type::Array => (0..choose(4))
            .map(|_| value(at.item(), depth + 1, choose))
            .collect(),
        Type::String => text(choose),
        Type::Integer => integer(choose).into(),
        Type::Number => json!(pick(&[0.0, 0.5, -1.0, 1e308], choose)),
        Type::Boolean => (choose(2) == 1).into(),
        Type::IntOrString if choose(2) == 0 => pick(&[0, 1, 80, 70_000], choose).into(),
        Type::IntOrString => text(choose),
        Type::Any if choose(2) == 0 => pick(&AMOUNTS, choose).into(),
        Type::Any => anything(2, choose),
    }
}

fn fields(at: NodeRef<'_>, depth: usize, choose: Choices<'_>) -> Map<String, Value> {
    let mut fields = Map::new();
    let Some(node) = at.node else { return fields };
    for (name, link) in &node.properties {
        // Without further choices nothing more is added, so that there is an end.
        if !node.required.contains(name) && choose(4) != 3 {
            continue;
        }
        let at = at.resolve(link);
        let is_text = at.node.is_some_and(|node| node.type_ == Type::String);
        let value = match KEYS.contains(&name.as_str()) {
            true if is_text => pick(&["a", "b", "c"], choose).into(),
            true if depth < DEEPEST => match at.node.map(|node| node.type_) {
                Some(Type::Integer) => pick(&[1, 2, 80], choose).into(),
                _ => value(at, depth + 1, choose),
            },
            _ => value(at, depth + 1, choose),
        };
        fields.insert(name.clone(), value);
    }
    if let Some(values) = &node.values {
        for _ in 0..choose(3) {
            let key = pick(&["a", "b", "cpu", "memory", "pods", "x/y"], choose);
            let value = match choose(8) {
                7 => Value::Null,
                _ => value(at.resolve(values), depth + 1, choose),
            };
            fields.insert(key.to_owned(), value);
        }
    }
    fields
}

fn text(choose: Choices<'_>) -> Value {
    match choose(3) {
        0 => pick(&["a", "b", "c"], choose).into(),
        1 => pick(&AMOUNTS, choose).into(),
        _ => words(choose).into(),
    }
}

/// Something between two values: parts of one, of the other, and of neither.
pub(crate) fn between(one: &Value, other: &Value, choose: Choices<'_>) -> Value {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let mut mixed = Map::new();
            for name in one.keys().chain(other.keys()) {
                let value = match (one.get(name), other.get(name), choose(4)) {
                    (Some(one), Some(other), 0 | 1) => between(one, other, choose),
                    (Some(value), _, 0 | 2) | (_, Some(value), 1 | 2) => value.clone(),
                    _ => continue,
                };
                mixed.insert(name.clone(), value);
            }
            Value::Object(mixed)
        }
        (Value::Array(one), Value::Array(other)) => one
            .iter()
            .chain(other)
            .filter(|_| choose(2) == 0)
            .cloned()
            .collect(),
        _ if choose(2) == 0 => one.clone(),
        _ => other.clone(),
    }
}
