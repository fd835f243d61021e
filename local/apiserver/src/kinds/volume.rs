//! Volumes: what is filled in and what is insisted on.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{default, inner, items, items_mut, text};
use crate::{names, status::FieldError};

/// Permission bits 0644.
const FILE_MODE: i64 = 0o644;

/// Fills in the defaults of the volumes in a pod's spec.
pub(super) fn prepare(spec: &mut Value) {
    for volume in items_mut(spec, "volumes") {
        if volume.as_object().is_some_and(|fields| fields.len() == 1) {
            default(volume, "emptyDir", json!({}));
        }
        for kind in ["secret", "configMap", "downwardAPI", "projected"] {
            if let Some(source) = inner(volume, kind) {
                default(source, "defaultMode", FILE_MODE);
            }
        }
        if let Some(source) = inner(volume, "hostPath") {
            default(source, "type", "");
        }
    }
}

/// Rules for the volumes of a pod's spec; returns their names.
pub(super) fn validate<'a>(
    spec: &'a Value,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> HashSet<&'a str> {
    let mut names = HashSet::new();
    for (index, volume) in items(spec, "volumes") {
        let path = format!("{path}.volumes[{index}]");
        let name = text(volume, "name");
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if let Some(why) = names::label(name) {
            errors.push(FieldError::invalid(
                format!("{path}.name"),
                &json!(name),
                why,
            ));
        } else if !names.insert(name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), &json!(name)));
        }
        let sources = volume.as_object().map_or(0, |fields| {
            fields.keys().filter(|field| *field != "name").count()
        });
        if sources > 1 {
            errors.push(FieldError::forbidden(
                &path,
                "may not specify more than 1 volume type",
            ));
        }
        for (kind, field) in [("secret", "secretName"), ("configMap", "name")] {
            let source = &volume[kind];
            if source.is_object() && text(source, field).is_empty() {
                errors.push(FieldError::required(format!("{path}.{kind}.{field}"), ""));
            }
            for (index, item) in items(source, "items") {
                validate_item(item, &format!("{path}.{kind}.items[{index}]"), errors);
            }
        }
    }
    names
}

/// Rules for a key of a volume and the path of its file (`validateKeyToPath` of pkg/apis/core/validation).
fn validate_item(item: &Value, at: &str, errors: &mut Vec<FieldError>) {
    if text(item, "key").is_empty() {
        errors.push(FieldError::required(format!("{at}.key"), ""));
    }
    let path = text(item, "path");
    if path.is_empty() {
        errors.push(FieldError::required(format!("{at}.path"), ""));
        return;
    }
    let leads_up = path.split('/').any(|part| part == "..");
    let refusals = [
        (path.starts_with('/'), "must be a relative path"),
        (leads_up, "must not contain '..'"),
        (
            path.starts_with("..") && !path.starts_with("../"),
            "must not start with '..'",
        ),
    ];
    for (_, why) in refusals.into_iter().filter(|(applies, _)| *applies) {
        errors.push(FieldError::invalid(format!("{at}.path"), &json!(path), why));
    }
}
