//! Fields that a schema does not know: found, named and removed.

use serde_json::{Map, Value};

use super::{Field, NodeRef, QUANTITY, Type, join};

/// Removes what the schema does not know and returns the paths of it.
/// Nulls in places that may not be null go too, unnamed: they stand for "not given".
pub(crate) fn prune(at: NodeRef<'_>, value: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    walk(at, value, "", &mut unknown);
    unknown
}

/// Puts the zero of its type in the place of each null in a list or a map, as Go does when it decodes:
/// there a null cannot stand for "not given".
pub(crate) fn fill_nulls(at: NodeRef<'_>, value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, child) in object.iter_mut() {
                match at.field(name) {
                    Field::Key(at) if child.is_null() => *child = zero(at),
                    Field::Declared(at) | Field::Key(at) => fill_nulls(at, child),
                    Field::Unknown => {}
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                if item.is_null() {
                    *item = zero(at.item());
                }
                fill_nulls(at.item(), item);
            }
        }
        // As Kubernetes reads amounts, and writes them from then on.
        Value::Number(number) if is_quantity(at) => *value = number.to_string().into(),
        _ => {}
    }
}

fn is_quantity(at: NodeRef<'_>) -> bool {
    let format = at.node.and_then(|node| node.format.as_deref());
    format == Some(QUANTITY)
}

fn zero(at: NodeRef<'_>) -> Value {
    match at.node.map(|node| (node.type_, node.format.as_deref())) {
        Some((_, Some(QUANTITY))) => "0".into(),
        Some((Type::String, _)) => "".into(),
        Some((Type::Integer | Type::Number | Type::IntOrString, _)) => 0.into(),
        Some((Type::Boolean, _)) => false.into(),
        Some((Type::Array, _)) => Value::Array(Vec::new()),
        Some((Type::Object, _)) => Value::Object(Map::new()),
        Some((Type::Any, _)) | None => Value::Null,
    }
}

fn walk(at: NodeRef<'_>, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    let Some(node) = at.node else { return };
    match value {
        Value::Object(object) => {
            let whole = node.root || node.embedded;
            object.retain(|name, child| {
                let here = join(path, name);
                if whole && matches!(name.as_str(), "apiVersion" | "kind") {
                    return true;
                }
                let field = match at.field(name) {
                    Field::Unknown if node.embedded && name == "metadata" => return true,
                    Field::Unknown => {
                        unknown.push(here);
                        return false;
                    }
                    Field::Declared(field) | Field::Key(field) => field,
                };
                if child.is_null() && drops_null(field) {
                    return false;
                }
                walk(field, child, &here, unknown);
                true
            });
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                walk(at.item(), item, &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

fn drops_null(at: NodeRef<'_>) -> bool {
    at.node
        .is_some_and(|node| !(node.nullable || node.preserve_unknown && node.type_ == Type::Any))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::schema::{Definitions, Schema, SchemaRef, compile::compile};

    pub(crate) fn schema(value: &Value) -> Schema {
        Schema {
            root: Arc::new(SchemaRef::Inline(Box::new(compile(value).expect("schema")))),
            definitions: Arc::new(Definitions::new()),
        }
    }

    #[test]
    fn unknown_fields_are_named_and_removed_but_kept_where_the_schema_says_so() {
        let schema = schema(&json!({
            "type": "object",
            "properties": {
                "spec": {"type": "object", "properties": {
                    "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
                    "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}},
                    "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                             "properties": {"closed": {"type": "object"}}},
                }},
            },
        }));
        let mut value = json!({"kind": "K", "spec": {
            "nope": 1,
            "list": [{"a": "x"}, {"b": "x"}],
            "map": {"k": {"b": 1}},
            "open": {"any": {"thing": 1}, "closed": {"b": 1}},
        }});
        let unknown = prune(schema.at_root(), &mut value);
        assert_eq!(
            unknown,
            [
                "spec.list[1].b",
                "spec.map.k.b",
                "spec.nope",
                "spec.open.closed.b"
            ]
        );
        assert_eq!(
            value["spec"]["open"],
            json!({"any": {"thing": 1}, "closed": {}})
        );
        assert_eq!(value["kind"], "K");
    }

    #[test]
    fn a_null_is_a_field_that_is_not_given_unless_it_may_be_null() {
        let schema = schema(&json!({
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "string", "nullable": true}},
        }));
        let mut value = json!({"a": null, "b": null});
        assert!(prune(schema.at_root(), &mut value).is_empty());
        assert_eq!(value, json!({"b": null}));
    }
}
