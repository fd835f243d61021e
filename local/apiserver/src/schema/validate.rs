//! A value against a schema, with the sentences of a real API server.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Number, Value, json};

use super::{Field, ListKind, Node, NodeRef, QUANTITY, Type, join};
use crate::status::FieldError;

/// Everything that is wrong with the value. The metadata of the root is left to its own rules.
pub(crate) fn validate(at: NodeRef<'_>, value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(at, value, "", &mut errors);
    errors
}

/// The first value of a wrong type: path, and the type it should have. A null is of any: it stands for
/// what is not given.
pub(crate) fn wrong_type(at: NodeRef<'_>, value: &Value, path: &str) -> Option<(String, String)> {
    let node = at.node.filter(|_| !value.is_null())?;
    if !fits(node, value) {
        let wanted = node
            .format
            .clone()
            .unwrap_or_else(|| type_name(node.type_).to_owned());
        return Some((path.to_owned(), wanted));
    }
    match value {
        Value::Object(object) => object
            .iter()
            .find_map(|(name, child)| wrong_type(at.child(name), child, &join(path, name))),
        Value::Array(items) => items
            .iter()
            .find_map(|item| wrong_type(at.item(), item, path)),
        _ => None,
    }
}

/// Absent fields that have to be there.
pub(crate) fn missing(at: NodeRef<'_>, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(node) = at.node else { return };
    match value {
        Value::Object(object) => {
            for name in &node.required {
                if object.get(name).is_none_or(Value::is_null) {
                    errors.push(FieldError::required(join(path, name), ""));
                }
            }
            for (name, child) in object {
                missing(at.child(name), child, &join(path, name), errors);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                missing(at.item(), item, &format!("{path}[{index}]"), errors);
            }
        }
        _ => {}
    }
}

fn walk(at: NodeRef<'_>, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(node) = at.node else { return };
    if value.is_null() && node.nullable {
        return;
    }
    if !fits(node, value) {
        let wanted = type_name(node.type_);
        errors.push(FieldError::type_invalid(
            path,
            &json!(name_of(value)),
            format!(
                "{path} in body must be of type {wanted}: {:?}",
                name_of(value)
            ),
        ));
        return;
    }
    choices(node, value, path, errors);
    match value {
        Value::String(text) => string(node, text, path, errors),
        Value::Number(number) => range(node, number, path, errors),
        Value::Array(items) => {
            list(at, node, items, path, errors);
            for (index, item) in items.iter().enumerate() {
                walk(at.item(), item, &format!("{path}[{index}]"), errors);
            }
        }
        Value::Object(object) => {
            count(node, object.len(), path, errors);
            for name in &node.required {
                if !object.contains_key(name) {
                    errors.push(FieldError::required(join(path, name), ""));
                }
            }
            for (name, child) in object {
                if node.root && matches!(name.as_str(), "metadata" | "apiVersion" | "kind") {
                    continue;
                }
                if let Field::Declared(at) | Field::Key(at) = at.field(name) {
                    walk(at, child, &join(path, name), errors);
                }
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
    junctors(at, node, value, path, errors);
}

fn fits(node: &Node, value: &Value) -> bool {
    if value.is_null() {
        return node.nullable || node.type_ == Type::Any;
    }
    match node.type_ {
        Type::Any => true,
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String => value.is_string(),
        Type::Integer => value.as_number().is_some_and(|number| {
            let whole = number.as_i64();
            match node.format.as_deref() {
                Some("int32") => whole.is_some_and(|whole| i32::try_from(whole).is_ok()),
                _ => {
                    whole.is_some()
                        || number.is_u64()
                        || number.as_f64().is_some_and(|number| number.fract() == 0.0)
                }
            }
        }),
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
        Type::IntOrString => {
            // Amounts may be fractions.
            let is_quantity = node.format.as_deref() == Some(QUANTITY);
            let fits = |number: &Number| is_quantity || !number.is_f64();
            value.is_string() || value.as_number().is_some_and(fits)
        }
    }
}

fn type_name(type_: Type) -> &'static str {
    match type_ {
        Type::Any => "any",
        Type::Object => "object",
        Type::Array => "array",
        Type::String => "string",
        Type::Integer => "integer",
        Type::Number => "number",
        Type::Boolean => "boolean",
        Type::IntOrString => "integer or string",
    }
}

/// The name of a value's type, as messages put it.
pub(crate) fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn choices(node: &Node, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(choices) = &node.limits.choices
        && !choices.contains(value)
    {
        let supported: Vec<String> = choices.iter().map(ToString::to_string).collect();
        errors.push(FieldError::not_supported(path, value, &supported));
    }
}

fn string(node: &Node, text: &str, path: &str, errors: &mut Vec<FieldError>) {
    let limits = &node.limits;
    let value = || json!(text);
    if node.format.as_deref() == Some("byte") && STANDARD.decode(text).is_err() {
        errors.push(FieldError::invalid(
            path,
            &value(),
            format!("{path} in body must be of type byte: {text:?}"),
        ));
    }
    if limits.max_length.is_none() && limits.min_length.is_none() && limits.pattern.is_none() {
        return;
    }
    let length = text.chars().count() as u64;
    if let Some(most) = limits.max_length.filter(|most| length > *most) {
        errors.push(FieldError::too_long(path, most));
    }
    if let Some(least) = limits.min_length.filter(|least| length < *least) {
        errors.push(FieldError::invalid(
            path,
            &value(),
            format!("{path} in body should be at least {least} chars long"),
        ));
    }
    if let Some(pattern) = &limits.pattern
        && !pattern.is_match(text)
    {
        errors.push(FieldError::invalid(
            path,
            &value(),
            format!("{path} in body should match '{pattern}'"),
        ));
    }
}

fn range(node: &Node, number: &Number, path: &str, errors: &mut Vec<FieldError>) {
    let limits = &node.limits;
    let Some(actual) = number.as_f64() else {
        return;
    };
    let mut refuse = |detail: String| {
        errors.push(FieldError::invalid(
            path,
            &Value::Number(number.clone()),
            format!("{path} in body should be {detail}"),
        ));
    };
    if let Some(least) = limits.minimum {
        if limits.exclusive_minimum && actual <= least {
            refuse(format!("greater than {least}"));
        } else if actual < least {
            refuse(format!("greater than or equal to {least}"));
        }
    }
    if let Some(most) = limits.maximum {
        if limits.exclusive_maximum && actual >= most {
            refuse(format!("less than {most}"));
        } else if actual > most {
            refuse(format!("less than or equal to {most}"));
        }
    }
    if let Some(factor) = limits.multiple_of
        && factor != 0.0
        && (actual / factor).fract() != 0.0
    {
        refuse(format!("a multiple of {factor}"));
    }
}

fn list(at: NodeRef<'_>, node: &Node, items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    let limits = &node.limits;
    let length = items.len() as u64;
    if let Some(most) = limits.max_items.filter(|most| length > *most) {
        errors.push(FieldError::too_many(path, items.len(), most));
    }
    if let Some(least) = limits.min_items.filter(|least| length < *least) {
        errors.push(FieldError::invalid(
            path,
            &json!(items.len()),
            format!("{path} in body should have at least {least} items"),
        ));
    }
    let mut seen = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let (identity, shown) = match &node.list {
            ListKind::Atomic if !limits.unique_items => return,
            ListKind::Atomic | ListKind::Set => (item.to_string(), item.clone()),
            ListKind::Map(keys) => {
                let key = Value::Object(at.item_key(keys, item).unwrap_or_default());
                (key.to_string(), key)
            }
        };
        if !seen.insert(identity) {
            errors.push(FieldError::duplicate(format!("{path}[{index}]"), &shown));
        }
    }
}

fn count(node: &Node, length: usize, path: &str, errors: &mut Vec<FieldError>) {
    let limits = &node.limits;
    if let Some(most) = limits.max_properties.filter(|most| length as u64 > *most) {
        errors.push(FieldError::too_many(path, length, most));
    }
    if let Some(least) = limits
        .min_properties
        .filter(|least| (length as u64) < *least)
    {
        errors.push(FieldError::invalid(
            path,
            &json!(length),
            format!("{path} in body should have at least {least} properties"),
        ));
    }
}

fn junctors(at: NodeRef<'_>, node: &Node, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let check = |link| {
        let mut found = Vec::new();
        walk(at.resolve(link), value, path, &mut found);
        found
    };
    for link in &node.all_of {
        errors.append(&mut check(link));
    }
    let mut refuse = |detail: &str| {
        errors.push(FieldError::invalid(
            path,
            &json!(name_of(value)),
            format!("{path:?} must validate {detail}"),
        ));
    };
    if !node.any_of.is_empty() && !node.any_of.iter().any(|link| check(link).is_empty()) {
        refuse("at least one schema (anyOf)");
    }
    if !node.one_of.is_empty() {
        let holding = node
            .one_of
            .iter()
            .filter(|link| check(link).is_empty())
            .count();
        if holding != 1 {
            refuse(&format!(
                "one and only one schema (oneOf). Found {}",
                if holding == 0 {
                    "none valid"
                } else {
                    "several valid"
                }
            ));
        }
    }
    if let Some(link) = &node.not
        && check(link).is_empty()
    {
        errors.push(FieldError::invalid(
            path,
            &json!(name_of(value)),
            format!("{path} in body must not validate the schema (not)"),
        ));
    }
}

#[cfg(test)]
mod tests;
