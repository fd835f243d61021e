//! What becomes of an object that is deleted: it goes at once, or is marked and left to whoever has to clean up first.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use serde_json::Value;

use super::{
    Decision, Done, Place,
    options::{DeleteOptions, Preconditions},
    transact,
    update::is_over,
};
use crate::{
    api::Api,
    clock,
    resource::Resource,
    status::Failure,
    store::{Key, Object},
    typed,
};

/// Deletes an object, or marks it.
///
/// # Errors
///
/// 404 when there is none, 409 when it is not what the preconditions say.
pub(crate) async fn delete(
    api: &Api,
    resource: &Resource,
    key: &Key,
    options: &DeleteOptions,
) -> Result<Done, Failure> {
    let place = Place::Named(key.clone());
    transact(api, resource, &place, options.dry_run(), |key, current| {
        let current = current.ok_or_else(|| resource.not_found(&key.name))?;
        decide(resource, key, current, options)
    })
    .await
}

fn decide(
    resource: &Resource,
    key: &Key,
    current: &Object,
    options: &DeleteOptions,
) -> Result<Decision, Failure> {
    check(options.preconditions.as_ref(), resource, &key.name, current)?;
    if resource.is("", "namespaces")
        && matches!(key.name.as_str(), "default" | "kube-system" | "kube-public")
    {
        return Err(resource.forbidden(&key.name, "this namespace may not be deleted"));
    }
    Ok(match mark(resource, &current.value(), options) {
        None => Decision::Keep,
        Some(marked) if is_over(&marked) => Decision::Remove(marked),
        Some(marked) => Decision::Put(marked),
    })
}

/// The object must be the one that was meant.
fn check(
    wanted: Option<&Preconditions>,
    resource: &Resource,
    name: &str,
    object: &Object,
) -> Result<(), Failure> {
    let Some(wanted) = wanted else {
        return Ok(());
    };
    let unlike = |why| Failure::conflict(&resource.group, &resource.kind, name, why);
    let value = object.value();
    let had = value["metadata"]["uid"].as_str().unwrap_or_default();
    if let Some(uid) = wanted.uid.as_deref().filter(|uid| *uid != had) {
        return Err(unlike(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({had}). The object might have been deleted and then recreated"
        )));
    }
    let had = object.revision.to_string();
    if let Some(version) = wanted
        .resource_version
        .as_deref()
        .filter(|version| *version != had)
    {
        return Err(unlike(format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({had}). The object might have been modified"
        )));
    }
    Ok(())
}

/// The object as it is marked for deletion; `None` when it is marked well enough already.
fn mark(resource: &Resource, object: &Value, options: &DeleteOptions) -> Option<Value> {
    let mut marked = object.clone();
    propagate(&mut marked, options);
    let before = object["metadata"]["deletionGracePeriodSeconds"].as_i64();
    let grace = grace(resource, object, options);
    let metadata = &mut marked["metadata"];
    match before {
        // A second deletion can only make it quicker.
        Some(before) if grace >= before => {}
        _ => {
            metadata["deletionGracePeriodSeconds"] = grace.into();
            metadata["deletionTimestamp"] = clock::after(grace).into();
            if before.is_none()
                && let Some(generation) = metadata["generation"].as_i64()
            {
                metadata["generation"] = (generation + 1).into();
            }
        }
    }
    if resource.is("", "namespaces") {
        typed::change(&mut marked, |namespace: &mut Namespace| {
            let status = namespace.status.get_or_insert_default();
            status.phase = Some("Terminating".to_owned());
        });
    }
    (marked != *object || is_over(&marked)).then_some(marked)
}

/// How long an object has until it must be gone. Only pods have time: when they run somewhere and
/// are not finished.
fn grace(resource: &Resource, object: &Value, options: &DeleteOptions) -> i64 {
    if !resource.is("", "pods") {
        return 0;
    }
    // What cannot be read no node can run.
    let Ok(Pod { spec, status, .. }) = typed::read(object) else {
        return 0;
    };
    let spec = spec.unwrap_or_default();
    let phase = status.and_then(|status| status.phase);
    let is_bound = spec.node_name.is_some_and(|node| !node.is_empty());
    if !is_bound || matches!(phase.as_deref(), Some("Succeeded" | "Failed")) {
        return 0;
    }
    let wanted = options
        .grace_period_seconds
        .or(spec.termination_grace_period_seconds)
        .unwrap_or(30);
    if wanted < 0 { 1 } else { wanted }
}

/// Marks what becomes of the dependents, for the garbage collector.
fn propagate(object: &mut Value, options: &DeleteOptions) {
    let policy = match (
        options.propagation_policy.as_deref(),
        options.orphan_dependents,
    ) {
        (Some(policy), _) => policy,
        (None, Some(true)) => "Orphan",
        (None, Some(false)) => "Background",
        (None, None) => return,
    };
    let wanted = match policy {
        "Orphan" => Some("orphan"),
        "Foreground" => Some("foregroundDeletion"),
        _ => None,
    };
    let metadata = &mut object["metadata"];
    let mut finalizers = metadata["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    finalizers.retain(|one| one != "orphan" && one != "foregroundDeletion");
    finalizers.extend(wanted.map(Value::from));
    if finalizers.is_empty() {
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove("finalizers");
        }
    } else {
        metadata["finalizers"] = finalizers.into();
    }
}
