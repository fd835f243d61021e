//! Volumes: what is filled in and what is insisted on.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, KeyToPath, PodSpec, Volume};
use serde_json::json;

use super::rule::label;
use crate::status::FieldError;

/// Permission bits 0644.
const FILE_MODE: i32 = 0o644;

/// Fills in the defaults of the volumes in a pod's spec.
pub(super) fn prepare(spec: &mut PodSpec) {
    for volume in spec.volumes.iter_mut().flatten() {
        if sources(volume) == 0 {
            volume.empty_dir = Some(EmptyDirVolumeSource::default());
        }
        if let Some(source) = &mut volume.secret {
            source.default_mode.get_or_insert(FILE_MODE);
        }
        if let Some(source) = &mut volume.config_map {
            source.default_mode.get_or_insert(FILE_MODE);
        }
        if let Some(source) = &mut volume.downward_api {
            source.default_mode.get_or_insert(FILE_MODE);
        }
        if let Some(source) = &mut volume.projected {
            source.default_mode.get_or_insert(FILE_MODE);
        }
        if let Some(source) = &mut volume.host_path {
            source.type_.get_or_insert_default();
        }
    }
}

/// How many kinds of volume one is said to be: every field but the name is one.
fn sources(volume: &Volume) -> usize {
    let fields = serde_json::to_value(volume).unwrap_or_default();
    fields
        .as_object()
        .map_or(0, |fields| fields.len().saturating_sub(1))
}

/// Rules for the volumes of a pod's spec; returns their names.
pub(super) fn validate<'a>(
    spec: &'a PodSpec,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> HashSet<&'a str> {
    let mut names = HashSet::new();
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        label(&volume.name, &format!("{path}.name"), &mut names, errors);
        if sources(volume) > 1 {
            errors.push(FieldError::forbidden(
                &path,
                "may not specify more than 1 volume type",
            ));
        }
        let mut source =
            |kind: &str, field: &str, name: Option<&str>, items: Option<&Vec<KeyToPath>>| {
                let path = format!("{path}.{kind}");
                if name.is_none_or(str::is_empty) {
                    errors.push(FieldError::required(format!("{path}.{field}"), ""));
                }
                for (index, item) in items.into_iter().flatten().enumerate() {
                    validate_item(item, &format!("{path}.items[{index}]"), errors);
                }
            };
        if let Some(secret) = &volume.secret {
            let name = secret.secret_name.as_deref();
            source("secret", "secretName", name, secret.items.as_ref());
        }
        if let Some(map) = &volume.config_map {
            source("configMap", "name", Some(&map.name), map.items.as_ref());
        }
    }
    names
}

/// Rules for a key of a volume and the path of its file (`validateKeyToPath` of pkg/apis/core/validation).
fn validate_item(item: &KeyToPath, at: &str, errors: &mut Vec<FieldError>) {
    if item.key.is_empty() {
        errors.push(FieldError::required(format!("{at}.key"), ""));
    }
    let path = item.path.as_str();
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
