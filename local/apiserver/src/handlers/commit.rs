//! What all writes have in common: options, the checks on the way, ownership, and the store.

use std::sync::Arc;

use http::{Method, header};
use serde_json::{Value, json};

use crate::{
    api::{Api, Call},
    apply::{
        Writer,
        managers::{Manager, Operation},
    },
    clock,
    decode::Validation,
    kinds::{self, meta},
    random,
    resource::{Resource, custom, registry::Registry},
    schema::{default, validate, value_at},
    status::{Failure, FieldError, FieldErrorKind},
    store::{CommitError, Expect, Key, Object, Put, State, WriteFailed},
};

/// The options that all writes have.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) dry_run: bool,
    pub(crate) manager: String,
    pub(crate) validation: Validation,
    pub(crate) force: bool,
    /// The manager was named, not guessed.
    pub(crate) named: bool,
}

/// Where definitions are kept.
pub(crate) const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// The longest name of a manager.
const MAX_MANAGER: usize = 128;

// === impl Options ===

impl Options {
    pub(crate) fn new(call: &Call) -> Result<Self, Failure> {
        let kind = match call.method {
            Method::PUT => "UpdateOptions",
            Method::PATCH => "PatchOptions",
            _ => "CreateOptions",
        };
        let refuse = |error| Failure::options(kind, error);
        let given = call.query.get("fieldManager");
        if let Some(name) = given {
            if name.len() > MAX_MANAGER {
                let error = FieldError::too_long("fieldManager", MAX_MANAGER as u64);
                return Err(refuse(error));
            }
            if name.chars().any(char::is_control) {
                let why = "should only contain printable characters";
                return Err(refuse(FieldError::invalid(
                    "fieldManager",
                    &json!(name),
                    why,
                )));
            }
        }
        let force = call.query.flag("force");
        if force && call.method == Method::PATCH && call.content_type() != super::patch::APPLY {
            let why = "may not be specified for non-apply patch";
            return Err(refuse(FieldError::forbidden("force", why)));
        }
        Ok(Self {
            dry_run: dry_run(call.query.all("dryRun")).map_err(refuse)?,
            manager: given.map_or_else(|| agent(call), str::to_owned),
            validation: Validation::parse(call.query.get("fieldValidation")).map_err(refuse)?,
            force,
            named: given.is_some(),
        })
    }

    pub(crate) fn manager(&self, resource: &Resource, operation: Operation, part: &str) -> Manager {
        Manager {
            name: self.manager.clone(),
            operation,
            api_version: resource.api_version(),
            subresource: part.to_owned(),
        }
    }
}

/// Whether a write is only to be tried.
pub(crate) fn dry_run<'a>(given: impl Iterator<Item = &'a str>) -> Result<bool, FieldError> {
    let given: Vec<&str> = given.collect();
    if given.iter().any(|value| *value != "All") {
        let supported = ["\"All\"".to_owned()];
        return Err(FieldError::not_supported(
            "dryRun",
            &json!(given),
            &supported,
        ));
    }
    Ok(!given.is_empty())
}

/// A client that does not name itself goes by its user agent, up to the slash.
fn agent(call: &Call) -> String {
    let agent = call.headers.get(header::USER_AGENT);
    let agent = agent
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default();
    let name = agent.split('/').next().unwrap_or_default();
    if name.is_empty() {
        "unknown".to_owned()
    } else {
        name.chars().take(MAX_MANAGER).collect()
    }
}

/// Fills in and checks a new object of which everything but the server's own fields is known.
pub(crate) fn admit_new(
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
pub(crate) fn admit(
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
            (resource.hooks.validate)(object, old, &mut errors);
            let mut seen = std::collections::HashSet::new();
            errors.retain(|error| seen.insert(error.to_string()));
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

/// Records who owns what after an update. Without an old object, against the skeleton of a new one.
pub(crate) fn own(resource: &Resource, manager: Manager, old: Option<&Value>, new: &mut Value) {
    let skeleton;
    let old = match old {
        Some(old) => old,
        None => {
            skeleton = skeleton_of(resource);
            &skeleton
        }
    };
    writer(resource, manager).update(old, new);
}

pub(crate) fn writer(resource: &Resource, manager: Manager) -> Writer<'_> {
    Writer {
        at: resource.schema.at_root(),
        manager,
        status: resource.subresources.status,
        now: clock::now(),
    }
}

/// The fields that Go's structs always have. They come with an object and belong to nobody.
fn skeleton_of(resource: &Resource) -> Value {
    match (resource.custom.is_some(), resource.group.as_str()) {
        (true, _) => json!({"metadata": {}}),
        (false, _) if resource.kind == "Event" => kinds::event::skeleton(&resource.group),
        (false, "apps") => json!({"metadata": {}, "status": {}, "spec": {
            "strategy": {}, "template": {"metadata": {}, "spec": {"containers": null}},
        }}),
        (false, _) => json!({"metadata": {}, "spec": {"containers": null}, "status": {}}),
    }
}

/// Stores a change. Definitions take effect with their write.
pub(crate) async fn store(
    api: &Api,
    resource: &Resource,
    key: &Key,
    expect: Expect,
    put: Put,
    guard: impl FnOnce(&State) -> Result<(), Failure>,
) -> Result<Arc<Object>, CommitError<Failure>> {
    if &*resource.storage != DEFINITIONS {
        return api
            .store
            .write(&resource.storage, key, expect, put, guard)
            .await;
    }
    let _held = api.definitions.lock().await;
    let old = api.store.get(&resource.storage, key);
    let new = match &put {
        Put::Store(value) => Some(value.clone()),
        Put::Remove(_) => None,
    };
    let old = old.map(|old| old.value());
    if old.as_ref().map(|old| &old["spec"]) != new.as_ref().map(|new| &new["spec"]) {
        serve(api, &key.name, new.as_ref()).map_err(CommitError::Refused)?;
    }
    let written = api
        .store
        .write(&resource.storage, key, expect, put, guard)
        .await;
    if written.is_err() {
        let kept = api.store.get(&resource.storage, key);
        let kept = kept.map(|kept| kept.value());
        serve(api, &key.name, kept.as_deref()).map_err(CommitError::Refused)?;
    }
    written
}

/// Serves what a definition defines, and nothing else under its name. Watches of what was served
/// before end; clients list and watch again.
pub(crate) fn serve(api: &Api, name: &str, definition: Option<&Value>) -> Result<(), Failure> {
    let resources = match definition {
        Some(definition) => custom::resources(definition).map_err(Failure::internal)?,
        None => Vec::new(),
    };
    let mut registry = Registry::clone(&api.registry.load());
    registry.remove(name);
    for resource in resources {
        registry.insert(Arc::new(resource));
    }
    api.registry.store(Arc::new(registry));
    Ok(())
}

/// A failed commit as an answer; `None` when the object has changed meanwhile.
pub(crate) fn refusal(error: CommitError<Failure>) -> Option<Failure> {
    match error {
        CommitError::Stale => None,
        CommitError::Refused(failure) => Some(failure),
        CommitError::Busy => Some(Failure::too_many_requests(
            "too many writes wait for the disk, try again",
            1,
        )),
        CommitError::Failed(error) => Some(not_written(&error)),
    }
}

fn not_written(error: &WriteFailed) -> Failure {
    if error.full {
        Failure::new(507, "InsufficientStorage", error.to_string())
    } else {
        Failure::internal(error)
    }
}

/// A definition that is being deleted takes no more objects.
pub(crate) fn definition_takes(
    state: &State,
    resource: &Resource,
    name: &str,
) -> Result<(), Failure> {
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
pub(crate) fn namespace_takes(
    state: &State,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<(), Failure> {
    if !resource.namespaced {
        return Ok(());
    }
    let Some(found) = state.get("namespaces", &Key::new("", namespace)) else {
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
pub(crate) fn quotas_take(state: &State, resource: &Resource, pod: &Value) -> Result<(), Failure> {
    if !resource.is("", "pods") {
        return Ok(());
    }
    let key = Key::of(pod);
    for (_, quota) in state.scan("resourcequotas", Some(&key.namespace)) {
        let pods = state
            .scan("pods", Some(&key.namespace))
            .map(|(_, pod)| pod.value());
        if let Some(why) = kinds::quota::refuses(&quota.value(), pods, pod) {
            return Err(resource.forbidden(&key.name, why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod fuzz;
