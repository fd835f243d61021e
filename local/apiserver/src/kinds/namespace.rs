//! Namespaces.

use serde_json::{Value, json};

use super::default;
use crate::{names, resource::Hooks, security, status::FieldError};

pub(crate) const HOOKS: Hooks = Hooks {
    prepare,
    validate,
    name: names::label,
    ..Hooks::BUILTIN
};

/// Namespaces that are there from the start.
pub(crate) const INITIAL: &[&str] = &["default", "kube-node-lease", "kube-public", "kube-system"];

fn prepare(namespace: &mut Value, old: Option<&Value>) {
    if old.is_none() {
        // The controller of namespaces takes the finalizer away when the namespace is empty.
        namespace["spec"] = json!({"finalizers": ["kubernetes"]});
        namespace["status"] = json!({"phase": "Active"});
    }
    let name = namespace["metadata"]["name"].clone();
    default(&mut namespace["metadata"], "labels", json!({}));
    if let Some(labels) = namespace["metadata"]["labels"].as_object_mut() {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name);
    }
}

fn validate(namespace: &Value, _: Option<&Value>, errors: &mut Vec<FieldError>) {
    security::validate(namespace, errors);
}
