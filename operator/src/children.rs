//! What all children have in common: who owns them, and what they are labelled with.

use std::collections::BTreeMap;

use fermata_crds::names;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt as _};
use serde::Serialize;

use crate::digest::digest;

/// Annotation that holds a digest of what was applied, so that a field the operator does not want
/// any more is seen to have gone.
pub(crate) const APPLIED_ANNOTATION: &str = "fermata.dev/applied";

/// Labels that say whose child an object is.
const OWN_LABELS: [&str; 3] = [
    names::FUNCTION_LABEL,
    names::REVISION_LABEL,
    names::MANAGED_BY_LABEL,
];

/// Metadata of a child: in the owner's namespace, controlled by it.
pub(crate) fn metadata<K: Resource<DynamicType = ()>>(
    owner: &K,
    name: &str,
    labels: BTreeMap<String, String>,
) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: owner.namespace(),
        labels: Some(labels),
        owner_references: Some(vec![owner_reference(owner)]),
        ..ObjectMeta::default()
    }
}

/// Deleting the owner waits for no child: nothing needs the owner to wind up.
fn owner_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// Labels of a child of a Function, and of one of its Revisions.
pub(crate) fn labels(function: &str, revision: Option<&str>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (names::FUNCTION_LABEL.to_owned(), function.to_owned()),
        (
            names::MANAGED_BY_LABEL.to_owned(),
            names::MANAGED_BY.to_owned(),
        ),
    ]);
    if let Some(revision) = revision {
        labels.insert(names::REVISION_LABEL.to_owned(), revision.to_owned());
    }
    labels
}

/// Those of the labels that say whose child it is; the others are the Function's own.
pub(crate) fn own_labels(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    labels
        .iter()
        .filter(|(label, _)| OWN_LABELS.contains(&label.as_str()))
        .map(|(label, value)| (label.clone(), value.clone()))
        .collect()
}

/// Whether an object that nobody controls carries all of these labels. Then it is a child that was left
/// when its owner was deleted without its children (`kubectl delete --cascade=orphan`), and an owner of
/// the same name may take it over.
pub(crate) fn is_orphan(
    controller: Option<&str>,
    labels: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> bool {
    controller.is_none()
        && wanted
            .iter()
            .all(|(label, value)| labels.get(label) == Some(value))
}

/// Binds a write to the state of the object that was looked at: if somebody else changes the object or
/// puts another in its place, the write is refused.
pub(crate) fn bind(metadata: &mut ObjectMeta, uid: &str, resource_version: &str) {
    metadata.uid = Some(uid.to_owned());
    metadata.resource_version = Some(resource_version.to_owned());
}

/// Adds the digest of the object to it.
pub(crate) fn sealed<K: Resource + Serialize>(mut object: K) -> K {
    let value = serde_json::to_value(&object).unwrap_or_default();
    let digest = digest(&value);
    object
        .annotations_mut()
        .insert(APPLIED_ANNOTATION.to_owned(), digest);
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orphan_has_no_controller_and_every_label() {
        let wanted = labels("hello", Some("hello-00001"));
        assert!(is_orphan(None, &wanted, &wanted));
        assert!(!is_orphan(Some("somebody"), &wanted, &wanted));
        for label in wanted.keys() {
            let mut lacking = wanted.clone();
            lacking.remove(label);
            assert!(!is_orphan(None, &lacking, &wanted), "without {label}");
            let mut other = wanted.clone();
            other.insert(label.clone(), "other".to_owned());
            assert!(!is_orphan(None, &other, &wanted), "another {label}");
        }
    }
}
