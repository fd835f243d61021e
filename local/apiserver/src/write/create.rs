//! What becomes of an object that is created.

use serde_json::Value;

use super::{Decision, Place, admit};
use crate::{
    api::Api,
    request::Target,
    resource::Resource,
    status::Failure,
    store::{Key, Object},
};

/// Takes from a new object what only the server may say, and says where it goes.
///
/// # Errors
///
/// When the object says that it belongs elsewhere, or which version of it there is.
pub(crate) fn prepare(target: &Target, object: &mut Value) -> Result<Place, Failure> {
    super::place(target, object)?;
    let metadata = &mut object["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
    if !text("resourceVersion").is_empty() {
        return Err(Failure::unclassified(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let namespace = target.namespace.clone().unwrap_or_default();
    let (name, prefix) = (text("name"), text("generateName"));
    if let Some(metadata) = metadata.as_object_mut() {
        for field in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "resourceVersion",
        ] {
            metadata.remove(field);
        }
    }
    Ok(if name.is_empty() && !prefix.is_empty() {
        Place::Generated { namespace, prefix }
    } else {
        Place::Named(Key::new(namespace, name))
    })
}

/// The new object as it will be stored, unless there is one. `own` notes who wrote it.
pub(crate) fn decide(
    api: &Api,
    resource: &Resource,
    key: &Key,
    current: Option<&Object>,
    mut new: Value,
    own: impl FnOnce(&mut Value),
) -> Result<Decision, Failure> {
    admit::admit_new(api, resource, &mut new, &key.name)?;
    own(&mut new);
    if let Some(current) = current {
        return Err(exists(resource, &current.value(), &key.name));
    }
    let stored = resource.conversion.to_stored(new, &resource.stored_version);
    Ok(Decision::Put(stored))
}

fn exists(resource: &Resource, old: &Value, name: &str) -> Failure {
    let mut failure = Failure::already_exists(&resource.group, &resource.plural, name);
    if !old["metadata"]["deletionTimestamp"].is_null() {
        failure.message = format!("object is being deleted: {}", failure.message);
    }
    failure
}
