//! What becomes of an object that is there, however its new state comes about.

use serde_json::{Value, json};

use super::{Decision, admit, options::WriteOptions, ownership, place};
use crate::{
    api::Api,
    apply::managers::Operation,
    decode::Decoded,
    request::Target,
    resource::Resource,
    status::{Failure, FieldError},
    store::Object,
};

/// How the new state of an object comes about.
pub(crate) struct Change {
    pub(crate) decoded: Decoded,
    /// The ownership in the new state is final.
    pub(crate) owned: bool,
}

/// The object as it will be stored, and what to warn of. `change` makes the new state from the one that there is,
/// both in the version of the request.
pub(crate) fn decide(
    api: &Api,
    target: &Target,
    options: &WriteOptions,
    current: &Object,
    change: impl FnOnce(&Value) -> Result<Change, Failure>,
) -> Result<(Decision, Vec<String>), Failure> {
    let resource = &target.resource;
    let name = target.name.as_deref().unwrap_or_default();
    let stored_now = current.value();
    let live = resource
        .conversion
        .to_served(&stored_now, &resource.api_version());
    let Change { decoded, owned } = change(&live)?;
    let (mut new, warnings) = decoded.into_object(resource, options.validation)?;
    place(target, &mut new)?;
    let given = new["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    if !given.is_empty() && live["metadata"]["resourceVersion"] != given {
        return Err(resource.modified(name));
    }
    let new = finish(api, target, options, &live, new, owned)?;
    let stored = resource.conversion.to_stored(new, &resource.stored_version);
    let decision = if stored == *stored_now {
        Decision::Keep
    } else if is_over(&stored) {
        Decision::Remove(stored)
    } else {
        Decision::Put(stored)
    };
    Ok((decision, warnings))
}

/// Whether nothing holds a deleted object any longer.
pub(super) fn is_over(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let empty = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
    let namespace_done = object["kind"] != "Namespace" || empty(&object["spec"]["finalizers"]);
    !metadata["deletionTimestamp"].is_null()
        && empty(&metadata["finalizers"])
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && namespace_done
}

/// The new state as it will be stored: only the addressed part changed, the server's own fields
/// kept, defaults filled in, everything checked, generation and ownership brought up to date.
fn finish(
    api: &Api,
    target: &Target,
    options: &WriteOptions,
    live: &Value,
    new: Value,
    owned: bool,
) -> Result<Value, Failure> {
    let resource = &target.resource;
    let part = target.subresource.as_deref().unwrap_or_default();
    let name = target.name.as_deref().unwrap_or_default();
    let mut result = select(resource, part, live, new);
    keep(resource, live, &mut result, name)?;
    admit::admit(resource, &mut result, Some(live), |object| {
        if part.is_empty() {
            admit::mutate(api, resource, object, Some(live), name)?;
        }
        Ok(())
    })?;
    if resource.generation && counts(resource, live) != counts(resource, &result) {
        let generation = live["metadata"]["generation"].as_i64().unwrap_or(0);
        result["metadata"]["generation"] = (generation + 1).into();
    }
    if !owned {
        let manager = options.manager(resource, Operation::Update, part);
        ownership::own(resource, manager, Some(live), &mut result);
    }
    Ok(result)
}

/// The live object with the addressed part of the new one.
fn select(resource: &Resource, part: &str, live: &Value, mut new: Value) -> Value {
    let take = |from: &Value, into: &mut Value, field: &str| match from.get(field) {
        Some(value) => into[field] = value.clone(),
        None => {
            if let Some(into) = into.as_object_mut() {
                into.remove(field);
            }
        }
    };
    match part {
        "status" => {
            let mut result = live.clone();
            take(&new, &mut result, "status");
            take(&new["metadata"], &mut result["metadata"], "managedFields");
            result
        }
        "finalize" => {
            let mut result = live.clone();
            result["spec"]["finalizers"] = new["spec"]["finalizers"].clone();
            result
        }
        _ => {
            if resource.subresources.status {
                take(live, &mut new, "status");
            }
            if resource.is("", "namespaces") {
                take(live, &mut new, "spec");
            }
            new
        }
    }
}

/// Puts back what only the server may change.
fn keep(resource: &Resource, live: &Value, result: &mut Value, name: &str) -> Result<(), Failure> {
    let (old, new) = (&live["metadata"], &mut result["metadata"]);
    let (had, given) = (
        old["uid"].as_str().unwrap_or_default(),
        new["uid"].as_str().unwrap_or_default(),
    );
    if !given.is_empty() && given != had {
        let error = FieldError::invalid("metadata.uid", &json!(given), "field is immutable");
        return Err(resource.invalid(name, &[error]));
    }
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "selfLink",
    ] {
        match old.get(field) {
            Some(value) => new[field] = value.clone(),
            None => {
                if let Some(new) = new.as_object_mut() {
                    new.remove(field);
                }
            }
        }
    }
    if old["deletionTimestamp"].is_null() {
        return Ok(());
    }
    let before = old["finalizers"].as_array().cloned().unwrap_or_default();
    let added: Vec<String> = new["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|finalizer| !before.contains(finalizer))
        .map(ToString::to_string)
        .collect();
    if added.is_empty() {
        return Ok(());
    }
    let error = FieldError::forbidden(
        "metadata.finalizers",
        format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        ),
    );
    Err(resource.invalid(name, &[error]))
}

/// What a change of moves the generation on: all but the metadata, and the status if it stands apart.
fn counts(resource: &Resource, object: &Value) -> Value {
    let mut object = object.clone();
    // A Deployment's controller has to look at its annotations again too.
    let annotations = if resource.is("apps", "deployments") {
        object["metadata"]["annotations"].take()
    } else {
        Value::Null
    };
    if let Some(fields) = object.as_object_mut() {
        fields.remove("metadata");
        if resource.subresources.status {
            fields.remove("status");
        }
        if !annotations.is_null() {
            fields.insert("annotations".to_owned(), annotations);
        }
    }
    object
}
