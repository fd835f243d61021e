use std::sync::Arc;

use super::*;
use crate::schema::{Definitions, Schema, SchemaRef, compile::compile};

fn errors(schema: Value, value: Value) -> Vec<String> {
    let node = compile(&json!({"type": "object", "properties": {"spec": schema}}));
    let schema = Schema {
        root: Arc::new(SchemaRef::Inline(Box::new(node.expect("schema")))),
        definitions: Arc::new(Definitions::new()),
    };
    validate(schema.at_root(), &json!({"spec": value}))
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn each_bound_is_refused_with_the_sentence_of_a_real_api_server() {
    for (schema, value, sentence) in [
        (
            json!({"type": "integer"}),
            json!("x"),
            r#"spec: Invalid value: "string": spec in body must be of type integer: "string""#,
        ),
        (
            json!({"type": "integer", "format": "int32"}),
            json!(3_000_000_000_i64),
            r#"spec: Invalid value: "integer": spec in body must be of type integer: "integer""#,
        ),
        (
            json!({"type": "string", "format": "byte"}),
            json!("a!"),
            r#"spec: Invalid value: "a!": spec in body must be of type byte: "a!""#,
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            r#"spec: Unsupported value: "c": supported values: "a", "b""#,
        ),
        (
            json!({"type": "string", "pattern": "^[a-z]+$"}),
            json!("A"),
            r#"spec: Invalid value: "A": spec in body should match '^[a-z]+$'"#,
        ),
        (
            json!({"type": "string", "maxLength": 1}),
            json!("ab"),
            "spec: Too long: may not be more than 1 bytes",
        ),
        (
            json!({"type": "string", "minLength": 1}),
            json!(""),
            r#"spec: Invalid value: "": spec in body should be at least 1 chars long"#,
        ),
        (
            json!({"type": "integer", "minimum": 0}),
            json!(-1),
            "spec: Invalid value: -1: spec in body should be greater than or equal to 0",
        ),
        (
            json!({"type": "integer", "maximum": 2, "exclusiveMaximum": true}),
            json!(2),
            "spec: Invalid value: 2: spec in body should be less than 2",
        ),
        (
            json!({"type": "integer", "multipleOf": 2}),
            json!(3),
            "spec: Invalid value: 3: spec in body should be a multiple of 2",
        ),
        (
            json!({"type": "array", "maxItems": 1, "items": {"type": "string"}}),
            json!(["a", "b"]),
            "spec: Too many: 2: must have at most 1 items",
        ),
        (
            json!({"type": "array", "minItems": 1}),
            json!([]),
            "spec: Invalid value: 0: spec in body should have at least 1 items",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
            json!(["a", "a"]),
            r#"spec[1]: Duplicate value: "a""#,
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                   "items": {"type": "object", "properties": {"name": {"type": "string"}}}}),
            json!([{"name": "a"}, {"name": "a"}]),
            r#"spec[1]: Duplicate value: {"name":"a"}"#,
        ),
        (
            json!({"type": "object", "required": ["a"]}),
            json!({}),
            "spec.a: Required value",
        ),
        (
            json!({"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}}),
            json!({"a": "", "b": ""}),
            "spec: Too many: 2: must have at most 1 items",
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            r#"spec: Invalid value: "boolean": spec in body must be of type integer or string: "boolean""#,
        ),
        (
            json!({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({"a": 1, "b": 1}),
            r#"spec: Invalid value: "object": "spec" must validate one and only one schema (oneOf). Found several valid"#,
        ),
        (
            json!({"not": {"required": ["a"]}}),
            json!({"a": 1}),
            r#"spec: Invalid value: "object": spec in body must not validate the schema (not)"#,
        ),
    ] {
        assert_eq!(errors(schema, value), [sentence]);
    }
}

#[test]
fn what_is_within_its_bounds_passes() {
    for (schema, value) in [
        (json!({"type": "string", "nullable": true}), Value::Null),
        (json!({"x-kubernetes-int-or-string": true}), json!("25%")),
        (json!({"type": "number"}), json!(1)),
        (json!({"type": "string", "maxLength": 1}), json!("ß")),
        (
            json!({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
            json!(1),
        ),
    ] {
        assert_eq!(errors(schema, value), [""; 0]);
    }
}
