//! The three patch formats that change an object without applying it.

mod strategic;

pub(crate) use self::strategic::strategic;

use serde_json::Value;

use crate::{decode, status::Failure};

/// The most operations in one JSON patch, as in Kubernetes.
const MAX_OPERATIONS: usize = 10_000;

/// The most copies and moves in one JSON patch. Each can double the object, or its depth.
const MAX_COPIES: usize = 8;

/// What copies may make of an object, in bytes.
const MAX_SIZE: usize = 3 * 1024 * 1024;

/// RFC 6902.
pub(crate) fn json_patch(target: &Value, patch: Value) -> Result<Value, Failure> {
    let copies = patch.as_array().is_some_and(|operations| {
        let copies = |one: &&Value| matches!(one["op"].as_str(), Some("copy" | "move"));
        operations.iter().filter(copies).count() > MAX_COPIES
    });
    if copies {
        return Err(Failure::bad_request(format!(
            "a JSON patch may copy and move at most {MAX_COPIES} times"
        )));
    }
    if !patch.is_array() {
        return Err(Failure::bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
        ));
    }
    let patch: json_patch::Patch =
        serde_json::from_value(patch).map_err(|_| Failure::patch_rejected())?;
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
    let deep = |path: &str| path.matches('/').count() > decode::MAX_DEPTH;
    if patch.0.iter().any(|one| deep(one.path().as_str())) {
        return Err(Failure::bad_request(format!(
            "a path of a JSON patch may be at most {} steps long",
            decode::MAX_DEPTH
        )));
    }
    let mut patched = target.clone();
    for operation in &patch.0 {
        json_patch::patch(&mut patched, std::slice::from_ref(operation))
            .map_err(|_| Failure::patch_rejected())?;
        if matches!(operation, json_patch::PatchOperation::Copy(_))
            && patched.to_string().len() > MAX_SIZE
        {
            return Err(Failure::too_large(MAX_SIZE));
        }
    }
    Ok(patched)
}

/// RFC 7386.
pub(crate) fn merge_patch(target: &Value, patch: &Value) -> Result<Value, Failure> {
    if !patch.is_object() {
        return Err(Failure::bad_request(
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
        ));
    }
    let mut patched = target.clone();
    json_patch::merge(&mut patched, patch);
    Ok(patched)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_json_patch_cannot_make_an_object_grow_without_end() {
        let copy = json!({"op": "copy", "from": "", "path": "/a"});
        let target = json!({"x": "x".repeat(1024 * 1024)});
        let failure = json_patch(&target, json!([copy, copy, copy])).expect_err("refused");
        assert_eq!(failure.code, 413);
        let failure = json_patch(&json!({}), vec![copy; 9].into()).expect_err("refused");
        assert_eq!(failure.code, 400);
        let path = "/a".repeat(200);
        let add = json!([{"op": "add", "path": path, "value": 1}]);
        assert_eq!(json_patch(&json!({}), add).expect_err("refused").code, 400);
        let test = json!({"op": "test", "path": "/x", "value": 1});
        let many = vec![test; MAX_OPERATIONS + 1].into();
        assert_eq!(
            json_patch(&json!({"x": 1}), many)
                .expect_err("refused")
                .code,
            413
        );
    }
}

#[cfg(test)]
mod fuzz;
