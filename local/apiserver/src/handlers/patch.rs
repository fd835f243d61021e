//! Patches of all four kinds.

use http::Response;
use serde_json::{Value, json};

use super::{
    commit::{self, Options},
    create::{Written, create_object, place},
    update::{Change, update},
};
use crate::{
    api::{Api, Call},
    apply::managers::Operation,
    decode::{Decoded, Validation, decode, wrong_type},
    merge,
    resource::Resource,
    response::Body,
    status::{Failure, FieldError},
    store::Key,
};

pub(crate) const JSON: &str = "application/json-patch+json";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

/// How often an apply is tried again when the object comes or goes meanwhile.
const MAX_TRIES: usize = 4;

pub(crate) async fn patch(api: &Api, call: &Call) -> Result<Response<Body>, Failure> {
    let options = Options::new(call)?;
    if call.content_type() == APPLY {
        return apply(api, call, &options)
            .await
            .map(|written| written.response(api, call));
    }
    let patch = decode(&call.body, JSON)?.value;
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
        JSON => merge::json_patch(live, patch.clone()),
        MERGE => merge::merge_patch(live, patch),
        STRATEGIC if resource.custom.is_none() => {
            merge::strategic(resource.schema.at_root(), live, patch)
        }
        _ => Err(unsupported(resource)),
    }
}

fn unsupported(resource: &Resource) -> Failure {
    let mut accepted = vec![JSON, MERGE];
    if resource.custom.is_none() {
        accepted.push(STRATEGIC);
    }
    accepted.push(APPLY);
    Failure::unsupported_media_type(format!(
        "the body of the request was in an unknown format - accepted media types include: {}",
        accepted.join(", ")
    ))
}

/// What an apply has to say, in the version of the request.
pub(crate) fn config(call: &Call, options: &Options) -> Result<Decoded, Failure> {
    if !options.named {
        let error = FieldError::required("fieldManager", "is required for apply patch");
        return Err(Failure::invalid(
            "meta.k8s.io",
            "PatchOptions",
            "",
            &[error],
        ));
    }
    let decoded = decode(&call.body, APPLY)?;
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

async fn apply(api: &Api, call: &Call, options: &Options) -> Result<Written, Failure> {
    let (target, resource) = (&call.target, &call.target.resource);
    let (mut config, warnings) =
        config(call, options)?.into_object(resource, options.validation)?;
    place(target, &mut config)?;
    let part = target.subresource.as_deref().unwrap_or_default();
    let manager = options.manager(resource, Operation::Apply, part);
    let writer = commit::writer(resource, manager);
    let name = target.name.as_deref().unwrap_or_default();
    let key = Key::new(target.namespace.clone().unwrap_or_default(), name);
    // The configuration has been checked for oddities; what is there already is not held against it.
    let inner = Options {
        validation: Validation::Ignore,
        ..options.clone()
    };
    for _ in 0..MAX_TRIES {
        let outcome = if api.store.get(&resource.storage, &key).is_some() {
            update(api, target, &inner, |live| {
                Ok(Change {
                    decoded: Decoded::new(writer.apply(live, &config, options.force)?),
                    owned: true,
                })
            })
            .await
        } else if part.is_empty() {
            if config["metadata"]["uid"].is_string() {
                return Err(resource.conflict(
                    name,
                    "uid mismatch: the provided object specified a uid, and no existing object was found",
                ));
            }
            let mut object = writer.apply(&json!({}), &config, options.force)?;
            // An apply makes what is gone, whatever version of it the client has seen.
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("resourceVersion");
            }
            create_object(api, target, &inner, object, |_| Ok(()))
                .await
                .map(|object| Written {
                    object,
                    warnings: Vec::new(),
                    created: true,
                })
        } else {
            Err(resource.not_found(name))
        };
        match outcome {
            // Somebody created or deleted it in between.
            Err(failure)
                if failure.reason == "AlreadyExists"
                    && !failure.message.contains("being deleted") => {}
            Err(failure)
                if failure.reason == "NotFound"
                    && part.is_empty()
                    && failure == resource.not_found(name) => {}
            Err(failure) => return Err(failure),
            Ok(written) => {
                return Ok(Written {
                    warnings,
                    ..written
                });
            }
        }
    }
    Err(resource.modified(name))
}
