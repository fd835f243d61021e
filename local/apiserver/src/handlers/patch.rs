//! Patches of all four kinds.

use http::Response;
use serde_json::{Value, json};

use super::{update::update, written::Written};
use crate::{
    api::Api,
    apply::managers::Operation,
    decode::{Decoded, Validation, decode, wrong_type},
    media::{APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH},
    merge,
    request::Call,
    resource::Resource,
    response::Body,
    status::{Failure, FieldError},
    write::{
        self, Place, create,
        options::WriteOptions,
        ownership, transact,
        update::{self, Change},
    },
};

pub(crate) async fn patch(api: &Api, call: &Call) -> Result<Response<Body>, Failure> {
    let options = WriteOptions::new(call)?;
    if call.content_type() == APPLY_PATCH {
        return apply(api, call, &options)
            .await
            .map(|written| written.response(api, call));
    }
    let patch = decode(&call.body, JSON_PATCH)?.value;
    let resource = &call.target.resource;
    let written = update(api, &call.target, &options, |live| {
        let patched = patched(call, resource, live, &patch)?;
        if resource.custom.is_none()
            && let Some(why) = wrong_type(resource, &patched)
        {
            let error = FieldError::invalid("patch", &json!(patched.to_string()), why);
            return Err(Failure::invalid("", "", "", &[error]));
        }
        Ok(Change {
            decoded: Decoded::new(patched),
            owned: false,
        })
    })
    .await?;
    Ok(written.response(api, call))
}

/// An object after a patch.
pub(crate) fn patched(
    call: &Call,
    resource: &Resource,
    live: &Value,
    patch: &Value,
) -> Result<Value, Failure> {
    match call.content_type() {
        JSON_PATCH => merge::json_patch(live, patch.clone()),
        MERGE_PATCH => merge::merge_patch(live, patch),
        STRATEGIC_MERGE_PATCH if resource.custom.is_none() => {
            merge::strategic(resource.schema.at_root(), live, patch)
        }
        _ => Err(unsupported(resource)),
    }
}

fn unsupported(resource: &Resource) -> Failure {
    let mut accepted = vec![JSON_PATCH, MERGE_PATCH];
    if resource.custom.is_none() {
        accepted.push(STRATEGIC_MERGE_PATCH);
    }
    accepted.push(APPLY_PATCH);
    Failure::unsupported_media_type(format!(
        "the body of the request was in an unknown format - accepted media types include: {}",
        accepted.join(", ")
    ))
}

/// What an apply has to say, in the version of the request.
pub(crate) fn config(call: &Call, options: &WriteOptions) -> Result<Decoded, Failure> {
    if !options.named {
        let error = FieldError::required("fieldManager", "is required for apply patch");
        return Err(Failure::invalid(
            "meta.k8s.io",
            "PatchOptions",
            "",
            &[error],
        ));
    }
    let decoded = decode(&call.body, APPLY_PATCH)?;
    if !decoded.value["kind"].is_string() || !decoded.value["apiVersion"].is_string() {
        return Err(Failure::bad_request("invalid object type: /, Kind="));
    }
    let managed = &decoded.value["metadata"]["managedFields"];
    if managed
        .as_array()
        .is_some_and(|managed| !managed.is_empty())
    {
        return Err(Failure::bad_request("metadata.managedFields must be nil"));
    }
    Ok(decoded)
}

/// Server-side apply: what the configuration says, in the object that is there or in a new one.
async fn apply(api: &Api, call: &Call, options: &WriteOptions) -> Result<Written, Failure> {
    let (target, resource) = (&call.target, &call.target.resource);
    let (mut config, warnings) =
        config(call, options)?.into_object(resource, options.validation)?;
    write::place(target, &mut config)?;
    let part = target.subresource.as_deref().unwrap_or_default();
    let manager = options.manager(resource, Operation::Apply, part);
    let writer = ownership::writer(resource, manager);
    // The configuration has been checked for oddities; what is there already is not held against it.
    let inner = WriteOptions {
        validation: Validation::Ignore,
        ..options.clone()
    };
    let place = Place::Named(target.key());
    let done = transact(api, resource, &place, options.dry_run, |key, current| {
        if let Some(current) = current {
            let change = |live: &Value| {
                Ok(Change {
                    decoded: Decoded::new(writer.apply(live, &config, options.force)?),
                    owned: true,
                })
            };
            return update::decide(api, target, &inner, current, change)
                .map(|(decision, _)| decision);
        }
        if !part.is_empty() {
            return Err(resource.not_found(&key.name));
        }
        if config["metadata"]["uid"].is_string() {
            return Err(resource.conflict(
                &key.name,
                "uid mismatch: the provided object specified a uid, and no existing object was found",
            ));
        }
        let mut new = writer.apply(&json!({}), &config, options.force)?;
        // An apply makes what is gone, whatever version of it the client has seen.
        if let Some(metadata) = new["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        create::prepare(target, &mut new)?;
        create::decide(api, resource, key, None, new, |_| {})
    })
    .await?;
    Ok(Written { done, warnings })
}
