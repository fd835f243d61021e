//! Namespaces.

use k8s_openapi::api::core::v1::{Namespace, NamespaceSpec, NamespaceStatus};
use serde_json::{Value, json};

use super::default;
use crate::{names, resource::Hooks, security, status::FieldError, typed};

pub(crate) const HOOKS: Hooks = Hooks {
    check: typed::check::<Namespace>,
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
        namespace["spec"] = json!(NamespaceSpec {
            finalizers: Some(vec!["kubernetes".to_owned()]),
        });
        namespace["status"] = json!(NamespaceStatus {
            phase: Some("Active".to_owned()),
            ..NamespaceStatus::default()
        });
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
