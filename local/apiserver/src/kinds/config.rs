//! ConfigMaps and Secrets.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{default, fields, text};
use crate::{resource::Hooks, status::FieldError};

pub(crate) const CONFIG_MAP: Hooks = Hooks {
    prepare: |_, _| {},
    validate: |object, old, errors| {
        validate(object, old, &["data", "binaryData"], errors);
    },
    ..Hooks::BUILTIN
};

pub(crate) const SECRET: Hooks = Hooks {
    prepare: prepare_secret,
    validate: validate_secret,
    ..Hooks::BUILTIN
};

/// All values of one object together, in bytes.
const MAX_SIZE: usize = 1024 * 1024;

/// What was given as text becomes data.
fn prepare_secret(secret: &mut Value, _old: Option<&Value>) {
    default(secret, "type", "Opaque");
    let given = secret
        .as_object_mut()
        .and_then(|secret| secret.remove("stringData"));
    for (key, value) in fields(&given.unwrap_or_default()) {
        default(secret, "data", json!({}));
        secret["data"][key] = STANDARD.encode(value.as_str().unwrap_or_default()).into();
    }
}

fn validate_secret(secret: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    validate(secret, old, &["data"], errors);
    for (key, value) in fields(&secret["data"]) {
        if STANDARD.decode(value.as_str().unwrap_or_default()).is_err() {
            errors.push(FieldError::invalid(
                format!("data[{key}]"),
                &json!("<hidden>"),
                "must be base64",
            ));
        }
    }
    if let Some(old) = old
        && text(old, "type") != text(secret, "type")
    {
        errors.push(FieldError::invalid(
            "type",
            &secret["type"],
            "field is immutable",
        ));
    }
}

fn validate(object: &Value, old: Option<&Value>, data: &[&str], errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for field in data {
        for (key, value) in fields(&object[*field]) {
            size += value.as_str().map_or(0, str::len);
            let fits = !key.is_empty()
                && key.len() <= 253
                && key
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
            if !fits || key == "." || key.starts_with("..") {
                errors.push(FieldError::invalid(
                    format!("{field}[{key}]"),
                    &json!(key),
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
                ));
            }
        }
    }
    if size > MAX_SIZE {
        errors.push(FieldError::too_long(data[0], MAX_SIZE as u64));
    }
    if let Some(old) = old.filter(|old| old["immutable"] == true) {
        if object["immutable"] != true {
            errors.push(FieldError::forbidden(
                "immutable",
                "field is immutable when `immutable` is set",
            ));
        }
        for field in data {
            if old[*field] != object[*field] {
                errors.push(FieldError::forbidden(
                    *field,
                    "field is immutable when `immutable` is set",
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_data() {
        let mut secret = json!({"data": {"a": "eA=="}, "stringData": {"b": "y"}});
        prepare_secret(&mut secret, None);
        assert_eq!(
            secret,
            json!({"type": "Opaque", "data": {"a": "eA==", "b": "eQ=="}})
        );
    }

    #[test]
    fn an_immutable_object_stays_as_it_is() {
        let old = json!({"immutable": true, "data": {"a": "1"}});
        let mut errors = Vec::new();
        (CONFIG_MAP.validate)(&json!({"data": {"a": "2"}}), Some(&old), &mut errors);
        assert_eq!(errors.len(), 2);
        errors.clear();
        (CONFIG_MAP.validate)(&old, Some(&old), &mut errors);
        assert_eq!(errors, []);
    }

    #[test]
    fn keys_values_and_sizes_are_checked() {
        let mut errors = Vec::new();
        let big = "x".repeat(MAX_SIZE + 1);
        (SECRET.validate)(
            &json!({"data": {"a/b": "eA==", "c": "?"}}),
            None,
            &mut errors,
        );
        assert_eq!(errors.len(), 2, "{errors:?}");
        errors.clear();
        (CONFIG_MAP.validate)(&json!({"data": {"a": big}}), None, &mut errors);
        assert_eq!(errors, [FieldError::too_long("data", MAX_SIZE as u64)]);
    }
}
