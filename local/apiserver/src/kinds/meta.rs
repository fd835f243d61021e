//! Names, labels and the other metadata, which all kinds have in common.

use serde_json::{Value, json};

use super::{fields, items, text};
use crate::{resource::Resource, status::FieldError};

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// All annotations of an object together, in bytes.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// What is wrong with a DNS label, if anything.
pub(crate) fn label(name: &str) -> Option<String> {
    if name.len() > 63 {
        return Some("must be no more than 63 bytes".to_owned());
    }
    (!is_label(name)).then(|| LABEL.to_owned())
}

/// What is wrong with a DNS subdomain, if anything.
pub(crate) fn subdomain(name: &str) -> Option<String> {
    if name.len() > 253 {
        return Some("must be no more than 253 bytes".to_owned());
    }
    (!name.split('.').all(is_label)).then(|| SUBDOMAIN.to_owned())
}

fn label_1035(name: &str) -> Option<String> {
    if name.len() > 63 {
        return Some("must be no more than 63 bytes".to_owned());
    }
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    (!begins || !is_label(name)).then(|| LABEL_1035.to_owned())
}

fn is_label(name: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(alphanumeric)
        && name.ends_with(alphanumeric)
        && name.chars().all(|c| alphanumeric(c) || c == '-')
}

fn is_name_part(name: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    name.starts_with(alphanumeric)
        && name.ends_with(alphanumeric)
        && name
            .chars()
            .all(|c| alphanumeric(c) || matches!(c, '-' | '_' | '.'))
}

/// What is wrong with a key of a label or annotation, if anything.
pub(crate) fn qualified(key: &str) -> Option<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            return Some("prefix part must be non-empty".to_owned());
        }
        if let Some(why) = subdomain(prefix) {
            return Some(format!("prefix part {why}"));
        }
    }
    match name {
        "" => Some("name part must be non-empty".to_owned()),
        long if long.len() > 63 => Some("name part must be no more than 63 bytes".to_owned()),
        name => (!is_name_part(name)).then(|| QUALIFIED.to_owned()),
    }
}

/// What is wrong with the value of a label, if anything.
pub(crate) fn label_value(value: &str) -> Option<String> {
    if value.len() > 63 {
        return Some("must be no more than 63 bytes".to_owned());
    }
    (!value.is_empty() && !is_name_part(value)).then(|| LABEL_VALUE.to_owned())
}

/// Rules for labels at `path`.
pub(crate) fn labels(labels: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (key, value) in fields(labels) {
        if let Some(why) = qualified(key) {
            errors.push(FieldError::invalid(path, &json!(key), why));
        }
        if let Some(why) = label_value(value.as_str().unwrap_or_default()) {
            errors.push(FieldError::invalid(path, value, why));
        }
    }
}

/// Rules for the metadata of an object.
pub(crate) fn validate(resource: &Resource, object: &Value, errors: &mut Vec<FieldError>) {
    let metadata = &object["metadata"];
    let name = text(metadata, "name");
    if name.is_empty() {
        errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else if let Some(why) = name_rule(resource, name) {
        errors.push(FieldError::invalid("metadata.name", &json!(name), why));
    }
    labels(&metadata["labels"], "metadata.labels", errors);
    let mut size = 0;
    for (key, value) in fields(&metadata["annotations"]) {
        size += key.len() + value.as_str().map_or(0, str::len);
        if let Some(why) = qualified(&key.to_lowercase()) {
            errors.push(FieldError::invalid(
                "metadata.annotations",
                &json!(key),
                why,
            ));
        }
    }
    if size > MAX_ANNOTATIONS {
        errors.push(FieldError::too_long(
            "metadata.annotations",
            MAX_ANNOTATIONS as u64,
        ));
    }
    for (index, finalizer) in items(metadata, "finalizers") {
        let name = finalizer.as_str().unwrap_or_default();
        if let Some(why) = qualified(name) {
            errors.push(FieldError::invalid("metadata.finalizers", finalizer, why));
        }
        let standard = ["kubernetes", "orphan", "foregroundDeletion"];
        let defined = resource.custom.is_some() || resource.group == "apiextensions.k8s.io";
        if !defined && !name.contains('/') && !standard.contains(&name) {
            errors.push(FieldError::invalid(
                format!("metadata.finalizers[{index}]"),
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
    owners(metadata, errors);
}

fn owners(metadata: &Value, errors: &mut Vec<FieldError>) {
    let mut controllers = 0;
    for (_, owner) in items(metadata, "ownerReferences") {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if text(owner, field).is_empty() {
                errors.push(FieldError::invalid(
                    format!("metadata.ownerReferences.{field}"),
                    &json!(""),
                    if field == "apiVersion" {
                        "version must not be empty"
                    } else {
                        "must not be empty"
                    },
                ));
            }
        }
        controllers += usize::from(owner["controller"] == true);
    }
    if controllers > 1 {
        errors.push(FieldError::invalid(
            "metadata.ownerReferences",
            &metadata["ownerReferences"],
            "Only one reference can have Controller set to true",
        ));
    }
}

fn name_rule(resource: &Resource, name: &str) -> Option<String> {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") => label(name),
        ("", "Service") => label_1035(name),
        _ => subdomain(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_dns() {
        assert_eq!(subdomain("a.b-c.1"), None);
        for bad in ["", "A", "a_b", "-a", "a.", "a..b", &"a".repeat(254)] {
            assert!(subdomain(bad).is_some(), "{bad}");
        }
        assert!(label("a.b").is_some());
        assert!(label_1035("1a").is_some());
    }

    #[test]
    fn label_keys_have_an_optional_prefix() {
        for good in ["app", "app.kubernetes.io/name", "A_b.c"] {
            assert_eq!(qualified(good), None, "{good}");
        }
        for bad in ["", "/x", "a/", "a/b/c", "UP/x", "-x", "a b"] {
            assert!(qualified(bad).is_some(), "{bad}");
        }
        assert_eq!(label_value(""), None);
        assert!(label_value("a b").is_some());
    }
}
