//! How the cells of built-in kinds are written.

use std::collections::BTreeMap;

use k8s_openapi::{
    Metadata,
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use serde_json::Value;

use super::{Column, TypedColumn, age};

/// A column of text.
pub(super) fn text<T>(name: &str, cell: fn(&T) -> Value) -> TypedColumn<T> {
    (Column::new(name, "string"), cell)
}

/// A column of numbers.
pub(super) fn number<T>(name: &str, cell: fn(&T) -> Value) -> TypedColumn<T> {
    (Column::new(name, "integer"), cell)
}

/// A column that is shown with `-o wide` only.
pub(super) fn wide<T>(name: &str, cell: fn(&T) -> Value) -> TypedColumn<T> {
    let column = Column {
        priority: 1,
        ..Column::new(name, "string")
    };
    (column, cell)
}

/// The column that tells how old an object is.
pub(super) fn age<T: Metadata<Ty = ObjectMeta>>() -> TypedColumn<T> {
    text("Age", |object| {
        let created = object.metadata().creation_timestamp.as_ref();
        age::of(created.map(|time| time.0))
    })
}

fn or(text: Option<&str>, otherwise: &str) -> Value {
    text.filter(|text| !text.is_empty())
        .unwrap_or(otherwise)
        .into()
}

pub(super) fn or_none(text: Option<&str>) -> Value {
    or(text, "<none>")
}

pub(super) fn or_unknown(text: Option<&str>) -> Value {
    or(text, "<unknown>")
}

pub(super) fn or_unset(text: &str) -> Value {
    or(Some(text), "<unset>")
}

/// A number or a percentage, or that there is none.
pub(super) fn or_na(share: Option<&IntOrString>) -> Value {
    match share {
        Some(IntOrString::Int(number)) => number.to_string().into(),
        Some(IntOrString::String(text)) => or(Some(text), "N/A"),
        None => "N/A".into(),
    }
}

/// What is not empty, with commas between.
pub(super) fn join(parts: impl IntoIterator<Item = String>) -> String {
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(",")
}

fn equalities(labels: Option<&BTreeMap<String, String>>) -> impl Iterator<Item = String> {
    let labels = labels.into_iter().flatten();
    labels.map(|(name, value)| format!("{name}={value}"))
}

/// Labels as text.
pub(super) fn pairs(labels: Option<&BTreeMap<String, String>>) -> Value {
    or_none(Some(&join(equalities(labels))))
}

/// A label selector as text.
pub(super) fn selector(selector: Option<&LabelSelector>) -> Value {
    let Some(selector) = selector else {
        return or_none(None);
    };
    let expressions = selector.match_expressions.iter().flatten().map(|one| {
        let values = join(one.values.iter().flatten().cloned());
        match one.operator.as_str() {
            "In" => format!("{} in ({values})", one.key),
            "NotIn" => format!("{} notin ({values})", one.key),
            "DoesNotExist" => format!("!{}", one.key),
            _ => one.key.clone(),
        }
    });
    let all = equalities(selector.match_labels.as_ref()).chain(expressions);
    or_none(Some(&join(all)))
}
