//! Updates: a whole object in place of the one that is there, and whatever else changes one.

use http::Response;
use serde_json::{Value, json};

use super::written::Written;
use crate::{
    api::Api,
    decode::decode,
    request::{Call, Target},
    response::Body,
    status::{Failure, FieldError},
    write::{
        Place,
        options::WriteOptions,
        transact,
        update::{self, Change},
    },
};

pub(crate) async fn replace(api: &Api, call: &Call) -> Result<Response<Body>, Failure> {
    let options = WriteOptions::new(call)?;
    let resource = &call.target.resource;
    let body = decode(&call.body, call.content_type())?.value;
    let given = body["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    if given.is_empty() && resource.custom.is_some() {
        let name = call.target.name.as_deref().unwrap_or_default();
        let error = FieldError::invalid(
            "metadata.resourceVersion",
            &json!(0),
            "must be specified for an update",
        );
        return Err(resource.invalid(name, &[error]));
    }
    let written = update(api, &call.target, &options, |_| {
        Ok(Change {
            decoded: decode(&call.body, call.content_type())?,
            owned: false,
        })
    })
    .await?;
    Ok(written.response(api, call))
}

/// Changes an object that is there. `change` makes the new state from the one that there is, both in the version of
/// the request.
pub(super) async fn update(
    api: &Api,
    target: &Target,
    options: &WriteOptions,
    change: impl Fn(&Value) -> Result<Change, Failure>,
) -> Result<Written, Failure> {
    let resource = &target.resource;
    let place = Place::Named(target.key());
    let mut warnings = Vec::new();
    let done = transact(api, resource, &place, options.dry_run, |key, current| {
        let current = current.ok_or_else(|| resource.not_found(&key.name))?;
        let decision;
        (decision, warnings) = update::decide(api, target, options, current, &change)?;
        Ok(decision)
    })
    .await?;
    Ok(Written { done, warnings })
}
