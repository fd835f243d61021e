use serde_json::json;

use super::*;
use crate::sample::{Choices, anything, chosen_by, integer, pick, words};

/// A schema that has some sense, of the fields that samples have.
fn schema(depth: usize, choose: Choices<'_>) -> Value {
    let mut schema = json!({});
    if choose(8) == 7 {
        return anything(3, choose);
    }
    let types = [
        "object", "array", "string", "integer", "number", "boolean", "odd",
    ];
    if choose(8) != 7 {
        schema["type"] = pick(&types, choose).into();
    }
    let flags = [
        "nullable",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-int-or-string",
        "x-kubernetes-embedded-resource",
        "uniqueItems",
        "exclusiveMinimum",
    ];
    let numbers = [
        "minimum",
        "maximum",
        "minLength",
        "maxItems",
        "multipleOf",
        "maxProperties",
    ];
    if choose(4) == 3 {
        schema[pick(&flags, choose)] = true.into();
    }
    if choose(4) == 3 {
        schema[pick(&numbers, choose)] = integer(choose).into();
    }
    if choose(4) == 3 {
        schema["default"] = anything(2, choose);
    }
    if choose(8) == 7 {
        schema["pattern"] = pick(&["^a*$", "(", ".", "[a-z]{1,100}"], choose).into();
        schema["format"] = words(choose).into();
        schema["enum"] = json!([anything(1, choose), "a"]);
    }
    if depth == 0 {
        return schema;
    }
    for name in ["a", "hello", "0", "metadata"] {
        if choose(3) == 2 {
            schema["properties"][name] = self::schema(depth - 1, choose);
        }
    }
    for name in ["additionalProperties", "items", "not"] {
        if choose(6) == 5 {
            schema[name] = self::schema(depth - 1, choose);
        }
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        if choose(8) == 7 {
            schema[name] = json!([self::schema(depth - 1, choose), {"required": ["a"]}]);
        }
    }
    schema
}

#[test]
fn fuzz_any_schema_checks_any_value() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let published = schema(4, &mut choose);
        let Ok(node) = compile::compile(&published) else {
            return;
        };
        let schema = Schema {
            root: Arc::new(SchemaRef::Inline(Box::new(node))),
            definitions: Arc::new(Definitions::new()),
        };
        let at = schema.at_root();
        let mut value = anything(5, &mut choose);
        let _ = validate::validate(at, &value);
        let _ = validate::wrong_type(at, &value, "");
        let given = value.clone();
        prune::prune(at, &mut value);
        let pruned = value.clone();
        let unknown = prune::prune(at, &mut value);
        assert_eq!(
            (&value, unknown.len()),
            (&pruned, 0),
            "{published} of {given}"
        );
        default::apply(at, &mut value);
        let full = value.clone();
        default::apply(at, &mut value);
        assert_eq!(value, full, "{published} of {given}");
    });
}
