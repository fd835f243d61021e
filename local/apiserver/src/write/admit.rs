//! Admission: what is filled in, changed by the server's owner and checked before an object is written, and what
//! must hold of the cluster when a new one comes.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use serde_json::{Value, json};

use crate::{
    api::Api,
    clock,
    kinds::{meta, quota},
    random,
    resource::Resource,
    schema::{default, validate, value_at},
    security,
    status::{Failure, FieldError, FieldErrorKind},
    store::{Key, State},
    typed,
};

use super::definitions::DEFINITIONS;

/// Fills in and checks a new object of which everything but the server's own fields is known.
pub(super) fn admit_new(
    api: &Api,
    resource: &Resource,
    object: &mut Value,
    name: &str,
) -> Result<(), Failure> {
    let metadata = &mut object["metadata"];
    metadata["name"] = name.into();
    metadata["uid"] = random::uid().into();
    metadata["creationTimestamp"] = clock::now().into();
    if resource.generation {
        metadata["generation"] = 1.into();
    }
    if resource.subresources.status
        && !resource.is("", "nodes")
        && let Some(object) = object.as_object_mut()
    {
        object.remove("status");
    }
    admit(resource, object, None, |object| {
        mutate(api, resource, object, None, name)
    })
}

/// Lets the server's owner change a pod.
pub(super) fn mutate(
    api: &Api,
    resource: &Resource,
    object: &mut Value,
    old: Option<&Value>,
    name: &str,
) -> Result<(), Failure> {
    if resource.is("", "pods") {
        for mutate in &api.mutators {
            mutate(object, old).map_err(|why| resource.forbidden(name, why))?;
        }
    }
    Ok(())
}

/// Fills in defaults, lets `mutate` change the object, and checks it.
pub(super) fn admit(
    resource: &Resource,
    object: &mut Value,
    old: Option<&Value>,
    mutate: impl FnOnce(&mut Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let at = resource.schema.at_root();
    if resource.custom.is_some() {
        default::apply(at, object);
    }
    leave_out_empty(&mut object["metadata"]);
    (resource.hooks.prepare)(object, old);
    mutate(object)?;

    let mut errors = Vec::new();
    meta::validate(resource, object, &mut errors);
    match &resource.custom {
        Some(custom) => {
            errors.append(&mut validate::validate(at, object));
            tolerate(object, old, &mut errors);
            custom.rules.check(object, old, &mut errors);
            tolerate(object, old, &mut errors);
        }
        None => {
            // What is required of a status is left to those who write it, as in Go's structs.
            for field in ["spec", "data", "involvedObject"] {
                validate::missing(at.child(field), &object[field], field, &mut errors);
            }
            let at = resource.schema.at_root();
            if at
                .node
                .is_some_and(|node| node.required.iter().any(|name| name == "spec"))
                && object["spec"].is_null()
            {
                errors.push(FieldError::required("spec", ""));
            }
            // The rules take what is absent for empty: that it is absent is all there is to say.
            let absent: HashSet<String> = errors
                .iter()
                .filter(|error| error.kind == FieldErrorKind::Required)
                .map(|error| error.field.clone())
                .collect();
            (resource.hooks.validate)(object, old, &mut errors);
            let mut seen = HashSet::new();
            errors.retain(|error| {
                let is_said = absent.contains(&error.field);
                (!is_said || error.kind == FieldErrorKind::Required)
                    && seen.insert(error.to_string())
            });
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Err(resource.invalid(name, &errors))
}

/// In Go, empty lists and maps of the metadata are left out.
fn leave_out_empty(metadata: &mut Value) {
    let Some(metadata) = metadata.as_object_mut() else {
        return;
    };
    metadata.retain(|_, value| match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Null => false,
        _ => true,
    });
}

/// What was wrong before and is not touched is no reason to refuse an update: rules may have become
/// stricter since (<https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-ratcheting>).
fn tolerate(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let Some(old) = old else { return };
    errors.retain(|error| {
        let path = match error.kind {
            // What is required is so by the parent.
            FieldErrorKind::Required => error.field.rsplit_once('.').map_or("", |(path, _)| path),
            _ => &error.field,
        };
        let value = value_at(object, path);
        value.is_null() || value != value_at(old, path)
    });
}

/// What must hold of the cluster when an object is created, looked at at the moment of the write.
pub(super) fn room(
    state: &State,
    resource: &Resource,
    key: &Key,
    new: &Value,
) -> Result<(), Failure> {
    definition_takes(state, resource, &key.name)?;
    namespace_takes(state, resource, key)?;
    security::enforce(state, resource, new)?;
    quotas_take(state, resource, new)
}

/// A definition that is being deleted takes no more objects.
fn definition_takes(state: &State, resource: &Resource, name: &str) -> Result<(), Failure> {
    if resource.custom.is_none() {
        return Ok(());
    }
    let key = Key::new("", &*resource.storage);
    let found = state.get(DEFINITIONS, &key);
    if found.is_some_and(|found| found.value()["metadata"]["deletionTimestamp"].is_null()) {
        return Ok(());
    }
    Err(resource.forbidden(
        name,
        "create not allowed while custom resource definition is terminating",
    ))
}

/// What must hold of a namespace when something is created in it.
fn namespace_takes(state: &State, resource: &Resource, key: &Key) -> Result<(), Failure> {
    let Key { namespace, name } = key;
    if !resource.namespaced {
        return Ok(());
    }
    let Some(found) = state.get("namespaces", &Key::new("", namespace.as_str())) else {
        return Err(Failure::not_found("", "namespaces", namespace));
    };
    if found.value()["metadata"]["deletionTimestamp"].is_null() {
        return Ok(());
    }
    let why = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    Err(resource.forbidden(name, why).with_cause(json!({
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    })))
}

/// The quotas of a namespace must have room for a new pod.
fn quotas_take(state: &State, resource: &Resource, pod: &Value) -> Result<(), Failure> {
    if !resource.is("", "pods") {
        return Ok(());
    }
    let key = Key::of(pod);
    let quotas = state.scan("resourcequotas", Some(&key.namespace));
    let quotas: Vec<ResourceQuota> = quotas
        .map(|(_, quota)| quota.read())
        .collect::<Result<_, _>>()?;
    if quotas.is_empty() {
        return Ok(());
    }
    let pod = typed::read(pod).map_err(Failure::internal)?;
    let there = state.scan("pods", Some(&key.namespace));
    let there: Vec<Pod> = there.map(|(_, pod)| pod.read()).collect::<Result<_, _>>()?;
    for quota in &quotas {
        if let Some(why) = quota::refuses(quota, there.iter(), &pod) {
            return Err(resource.forbidden(&key.name, why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::registry::Registry;

    /// What is said of an object with this spec that is new.
    fn said(group: &str, plural: &str, spec: &Value) -> Vec<String> {
        let registry = Registry::builtin();
        let resource = registry.find(group, "v1", plural).expect("it is served");
        let mut object = json!({"metadata": {"name": "a"}, "spec": spec});
        let refused = admit(resource, &mut object, None, |_| Ok(())).expect_err("refused");
        let causes = refused.to_value()["details"]["causes"].clone();
        let causes = causes.as_array().into_iter().flatten();
        causes
            .map(|cause| format!("{}: {}", cause["field"], cause["message"]).replace('"', ""))
            .collect()
    }

    #[test]
    fn of_what_is_absent_that_is_all_that_is_said() {
        let probe = json!({"httpGet": {"path": "/"}});
        let port = json!({"name": "p"});
        let container = json!({"image": "i:1", "ports": [port], "livenessProbe": probe});
        assert_eq!(
            said("", "pods", &json!({"containers": [container]})),
            [
                "spec.containers[0].name: Required value",
                "spec.containers[0].livenessProbe.httpGet.port: Required value",
                "spec.containers[0].ports[0].containerPort: Required value",
            ]
        );
        assert_eq!(
            said("apps", "deployments", &json!({})),
            [
                "spec.selector: Required value",
                "spec.template: Required value",
                "spec.template.spec.containers: Required value",
            ]
        );
    }
}

#[cfg(test)]
mod fuzz;
