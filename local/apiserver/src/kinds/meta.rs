//! Names, labels and the other metadata, which all kinds have in common.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{fields, items, text};
use crate::{names, resource::Resource, status::FieldError};

/// All annotations of an object together, in bytes.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Rules for labels at `path`.
pub(crate) fn labels<'a>(
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    for (key, value) in labels {
        if let Some(why) = names::qualified(key) {
            errors.push(FieldError::invalid(path, &json!(key), why));
        }
        if let Some(why) = names::label_value(value) {
            errors.push(FieldError::invalid(path, &json!(value), why));
        }
    }
}

/// The labels of a map that may be absent.
pub(crate) fn pairs(
    labels: Option<&BTreeMap<String, String>>,
) -> impl Iterator<Item = (&str, &str)> {
    let labels = labels.into_iter().flatten();
    labels.map(|(key, value)| (key.as_str(), value.as_str()))
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
    } else if let Some(why) = (resource.hooks.name)(name) {
        errors.push(FieldError::invalid("metadata.name", &json!(name), why));
    }
    let given = fields(&metadata["labels"])
        .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()));
    labels(given, "metadata.labels", errors);
    let mut size = 0;
    for (key, value) in fields(&metadata["annotations"]) {
        size += key.len() + value.as_str().map_or(0, str::len);
        if let Some(why) = names::qualified(&key.to_lowercase()) {
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
        if let Some(why) = names::qualified(name) {
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
