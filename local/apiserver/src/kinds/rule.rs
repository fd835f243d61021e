//! Rules that several kinds have, each for one field at a path.

use std::collections::HashSet;

use serde_json::json;

use crate::{names, status::FieldError};

/// The field, if it is given, has one of these values.
pub(super) fn one_of(
    value: Option<&str>,
    path: &str,
    choices: &[&str],
    errors: &mut Vec<FieldError>,
) {
    if let Some(value) = value
        && !choices.contains(&value)
    {
        let supported: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
        errors.push(FieldError::not_supported(path, &json!(value), &supported));
    }
}

/// The field, if it is given, is 0 or more.
pub(super) fn not_negative(
    value: Option<impl Into<i64>>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if let Some(value) = value.map(Into::into).filter(|value| *value < 0) {
        errors.push(FieldError::invalid(
            path,
            &json!(value),
            "must be greater than or equal to 0",
        ));
    }
}

/// The field is the number of a port.
pub(super) fn port_number(number: i32, path: &str, errors: &mut Vec<FieldError>) {
    if !(1..=65535).contains(&number) {
        errors.push(FieldError::invalid(
            path,
            &json!(number),
            "must be between 1 and 65535, inclusive",
        ));
    }
}

/// The field is a DNS label that none of `taken` has; it is taken then.
pub(super) fn label<'a>(
    name: &'a str,
    path: &str,
    taken: &mut HashSet<&'a str>,
    errors: &mut Vec<FieldError>,
) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if let Some(why) = names::label(name) {
        errors.push(FieldError::invalid(path, &json!(name), why));
    } else if !taken.insert(name) {
        errors.push(FieldError::duplicate(path, &json!(name)));
    }
}

/// Why a name of a port is none, if it is none.
pub(super) fn port_name(name: &str) -> Option<&'static str> {
    if name.len() > 15 {
        return Some("must be no more than 15 characters");
    }
    if !name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        return Some("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !name.bytes().any(|b| b.is_ascii_lowercase()) {
        return Some("must contain at least one letter (a-z)");
    }
    if name.contains("--") {
        return Some("must not contain consecutive hyphens");
    }
    (name.starts_with('-') || name.ends_with('-')).then_some("must not begin or end with a hyphen")
}
