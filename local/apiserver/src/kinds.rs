//! What the built-in kinds fill in and insist on, beyond their schemas.

pub(crate) mod config;
pub(crate) mod container;
pub(crate) mod definition;
pub(crate) mod event;
pub(crate) mod meta;
pub(crate) mod namespace;
pub(crate) mod pod;
pub(crate) mod quota;
pub(crate) mod service;
pub(crate) mod volume;
pub(crate) mod workload;

use serde_json::Value;

/// Puts a default where a field is absent.
fn default(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(object) = object.as_object_mut() {
        object.entry(field).or_insert_with(|| value.into());
    }
}

/// The items of a list field; none when it is absent.
pub(crate) fn items<'a>(
    object: &'a Value,
    field: &str,
) -> impl Iterator<Item = (usize, &'a Value)> {
    object[field].as_array().into_iter().flatten().enumerate()
}

/// The items of a list field, to be changed.
fn items_mut<'a>(object: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    object
        .get_mut(field)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

/// The struct in a field, if it is there.
fn inner<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    object.get_mut(field).filter(|value| value.is_object())
}

pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

pub(crate) fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
