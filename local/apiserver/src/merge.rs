//! The three patch formats that change an object without applying it.

mod strategic;

pub(crate) use self::strategic::strategic;

use serde_json::Value;

use crate::status::Failure;

/// The most operations in one JSON patch, as in Kubernetes.
const MAX_OPERATIONS: usize = 10_000;

/// RFC 6902.
pub(crate) fn json_patch(target: &Value, patch: Value) -> Result<Value, Failure> {
    let patch: json_patch::Patch = serde_json::from_value(patch)
        .map_err(|error| Failure::bad_request(format!("error decoding patch: {error}")))?;
    if patch.0.len() > MAX_OPERATIONS {
        return Err(Failure::new(
            413,
            "RequestEntityTooLarge",
            format!(
                "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
                patch.0.len()
            ),
        ));
    }
    let mut patched = target.clone();
    json_patch::patch(&mut patched, &patch.0).map_err(|error| {
        Failure::new(
            422,
            "Invalid",
            format!("the server rejected our request due to an error in our request: {error}"),
        )
    })?;
    Ok(patched)
}

/// RFC 7386.
pub(crate) fn merge_patch(target: &Value, patch: &Value) -> Result<Value, Failure> {
    if !patch.is_object() {
        return Err(Failure::bad_request("a merge patch must be an object"));
    }
    let mut patched = target.clone();
    json_patch::merge(&mut patched, patch);
    Ok(patched)
}
