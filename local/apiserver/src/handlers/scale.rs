//! The scale of a workload, which is one number of it seen alone.

use std::sync::Arc;

use http::Response;
use serde_json::{Value, json};

use super::{patch, read, update::update};
use crate::{
    api::Api,
    apply::managers::Operation,
    decode::{Decoded, Validation, decode},
    kinds::SCALE,
    media::{APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH},
    merge,
    request::Call,
    resource::{Resource, ScalePaths, at_path},
    response::{self, Body},
    selector::LabelSelector,
    status::{Failure, FieldError},
    store::Object,
    typed,
    write::{options::WriteOptions, ownership, update::Change},
};

pub(crate) fn get(api: &Api, call: &Call) -> Result<Response<Body>, Failure> {
    let object = read::find(api, &call.target)?;
    if let Some(paths) = &call.target.resource.subresources.scale
        && call.target.resource.custom.is_some()
        && at_path(&object.value(), &paths.spec_replicas).is_null()
    {
        return Err(Failure::internal(format!(
            "the spec replicas field {:?} does not exist",
            written(paths)
        )));
    }
    answer(call, &object)
}

/// The path of the number of replicas, as a definition writes it.
fn written(paths: &ScalePaths) -> String {
    format!(".{}", paths.spec_replicas.join("."))
}

pub(crate) async fn write(api: &Api, call: &Call) -> Result<Response<Body>, Failure> {
    let options = WriteOptions::new(call)?;
    let resource = &call.target.resource;
    let Some(paths) = &resource.subresources.scale else {
        return Err(Failure::no_such_path());
    };
    let body = if call.content_type() == APPLY_PATCH {
        let config = patch::config(call, &options)?.value;
        SCALE.check(&config)?;
        config
    } else if call.method == http::Method::PUT {
        decode(&call.body, call.content_type())?.value
    } else {
        decode(&call.body, JSON_PATCH)?.value
    };
    let manager = options.manager(resource, Operation::Apply, "scale");
    let writer = ownership::writer(resource, manager);
    // The number is checked here; the rest of the object is not this request's business.
    let inner = WriteOptions {
        validation: Validation::Ignore,
        ..options.clone()
    };
    let written = update(api, &call.target, &inner, |live| {
        if call.content_type() == APPLY_PATCH {
            let mut config = json!({"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": {
                "name": live["metadata"]["name"], "namespace": live["metadata"]["namespace"],
            }});
            put(&mut config, paths, replicas(call, &body)?);
            return Ok(Change {
                decoded: Decoded::new(writer.apply(live, &config, options.force)?),
                owned: true,
            });
        }
        let scale = scale(resource, paths, live);
        let new = match call.content_type() {
            _ if call.method == http::Method::PUT => body.clone(),
            // A Scale has no lists, so that a strategic merge is a plain one.
            MERGE_PATCH | STRATEGIC_MERGE_PATCH => merge::merge_patch(&scale, &body)?,
            _ => patch::patched(call, resource, &scale, &body)?,
        };
        SCALE.check(&new)?;
        let mut changed = live.clone();
        let version = &new["metadata"]["resourceVersion"];
        if version.as_str().is_some_and(|version| !version.is_empty()) {
            changed["metadata"]["resourceVersion"] = version.clone();
        }
        let is_new = resource.custom.is_some() && at_path(live, &paths.spec_replicas).is_null();
        if is_new && new["spec"]["replicas"].is_null() {
            return Err(Failure::bad_request(format!(
                "the spec replicas field {:?} cannot be empty",
                self::written(paths)
            )));
        }
        let count = replicas(call, &new)?;
        put(&mut changed, paths, count);
        // A Scale has no field for zero, so that nobody owns it; and what nobody owned before is not
        // tracked until somebody applies it.
        let owned = count == 0 || !is_owned(live, paths);
        if count == 0 {
            disown(&mut changed, paths);
        }
        Ok(Change {
            decoded: Decoded::new(changed),
            owned,
        })
    })
    .await?;
    answer(call, &written.done.object)
}

fn answer(call: &Call, object: &Arc<Object>) -> Result<Response<Body>, Failure> {
    let resource = &call.target.resource;
    let Some(paths) = &resource.subresources.scale else {
        return Err(Failure::no_such_path());
    };
    Ok(response::value(
        200,
        &scale(resource, paths, &object.value()),
    ))
}

/// The number of replicas that a Scale asks for.
fn replicas(call: &Call, scale: &Value) -> Result<i64, Failure> {
    let given = &scale["spec"]["replicas"];
    let count = if given.is_null() {
        Some(0)
    } else {
        given.as_i64()
    };
    match count {
        Some(count) if (0..=i64::from(i32::MAX)).contains(&count) => Ok(count),
        _ => {
            let error =
                FieldError::invalid("spec.replicas", given, "must be greater than or equal to 0");
            let name = call.target.name.as_deref().unwrap_or_default();
            Err(Failure::invalid("autoscaling", "Scale", name, &[error]))
        }
    }
}

fn put(object: &mut Value, paths: &ScalePaths, replicas: i64) {
    let mut place = object;
    for name in &paths.spec_replicas {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[name.as_str()];
    }
    *place = replicas.into();
}

/// The path of the number of replicas in a set of owned fields.
fn pointer(paths: &ScalePaths) -> String {
    let names = paths.spec_replicas.iter();
    names.map(|name| format!("/f:{name}")).collect()
}

/// Whether some manager owns the number of replicas.
fn is_owned(object: &Value, paths: &ScalePaths) -> bool {
    let pointer = pointer(paths);
    let entries = object["metadata"]["managedFields"].as_array();
    let mut entries = entries.into_iter().flatten();
    entries.any(|entry| entry["fieldsV1"].pointer(&pointer).is_some())
}

/// Takes the number of replicas from all who own it.
fn disown(object: &mut Value, paths: &ScalePaths) {
    let pointer = pointer(paths);
    let Some(entries) = object["metadata"]["managedFields"].as_array_mut() else {
        return;
    };
    for entry in entries.iter_mut() {
        let mut place = pointer.as_str();
        // The field, and every struct that holds nothing else.
        while let Some((above, name)) = place.rsplit_once('/') {
            let held = entry["fieldsV1"].pointer_mut(above);
            let Some(held) = held.and_then(Value::as_object_mut) else {
                break;
            };
            if held.get(name).is_some_and(|field| *field == json!({})) {
                held.remove(name);
            }
            place = above;
        }
    }
    entries.retain(|entry| entry["fieldsV1"] != json!({}));
}

fn scale(resource: &Resource, paths: &ScalePaths, object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {},
        "status": {"replicas": at_path(object, &paths.status_replicas).as_i64().unwrap_or(0)},
    });
    let replicas = at_path(object, &paths.spec_replicas);
    // In Go the field is left out when it is zero.
    if replicas.as_i64().is_some_and(|replicas| replicas != 0) {
        scale["spec"]["replicas"] = replicas.clone();
    }
    let selector = match &paths.selector {
        Some(path) => at_path(object, path).as_str().map(str::to_owned),
        None if resource.custom.is_none() => {
            let selector = typed::read(&object["spec"]["selector"]).unwrap_or_default();
            Some(LabelSelector::of(&selector).to_string())
        }
        None => None,
    };
    if let Some(selector) = selector {
        scale["status"]["selector"] = selector.into();
    }
    scale
}
