//! Defaults of a schema, put where fields are absent
//! (<https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting>).

use serde_json::Value;

use super::NodeRef;

/// Fills in every absent field that has a default, then what is inside it.
pub(crate) fn apply(at: NodeRef<'_>, value: &mut Value) {
    let Some(node) = at.node else { return };
    match value {
        Value::Object(object) => {
            for (name, link) in &node.properties {
                let default = || at.resolve(link).node.and_then(|node| node.default.clone());
                match object.get_mut(name) {
                    Some(child) => apply(at.resolve(link), child),
                    None => {
                        if let Some(mut default) = default() {
                            apply(at.resolve(link), &mut default);
                            object.insert(name.clone(), default);
                        }
                    }
                }
            }
            if let Some(values) = &node.values {
                for (name, child) in object.iter_mut() {
                    if !node.properties.contains_key(name) {
                        apply(at.resolve(values), child);
                    }
                }
            }
        }
        Value::Array(items) => {
            if let Some(link) = &node.items {
                for child in items {
                    apply(at.resolve(link), child);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::schema::{Definitions, Schema, SchemaRef, compile::compile};

    #[test]
    fn defaults_reach_into_lists_maps_and_other_defaults_but_invent_no_parent() {
        let leaf =
            json!({"type": "object", "properties": {"a": {"type": "integer", "default": 1}}});
        let node = compile(&json!({
            "type": "object",
            "properties": {
                "absent": leaf,
                "made": {"type": "object", "default": {}, "properties": {"a": {"type": "integer", "default": 1}}},
                "list": {"type": "array", "items": leaf},
                "map": {"type": "object", "additionalProperties": leaf},
            },
        }))
        .expect("schema");
        let schema = Schema {
            root: Arc::new(SchemaRef::Inline(Box::new(node))),
            definitions: Arc::new(Definitions::new()),
        };
        let mut value = json!({"list": [{}, {"a": 2}], "map": {"k": {}}});
        apply(schema.at_root(), &mut value);
        assert_eq!(
            value,
            json!({"made": {"a": 1}, "list": [{"a": 1}, {"a": 2}], "map": {"k": {"a": 1}}})
        );
    }
}
