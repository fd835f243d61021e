//! Bodies that are no objects of a resource: options, reviews and requests.

use serde::Deserialize;
use serde_json::Value;

use super::{decode, found};
use crate::{
    kinds::{DELETE_OPTIONS, Request, schemas::builtins},
    schema::validate,
    status::Failure,
};

// === impl Request ===

impl Request {
    /// Reads a body of this kind, as [`Request::check`] has it.
    pub(crate) fn decode(&self, body: &[u8], content_type: &str) -> Result<Value, Failure> {
        let value = decode(body, content_type)?.value;
        self.check(&value)?;
        Ok(value)
    }

    /// The value must be an object that does not say it were something else, its fields of the types that the
    /// definition gives them. What is read into structs afterwards must have come through here: serde takes a list
    /// for a struct.
    pub(crate) fn check(&self, value: &Value) -> Result<(), Failure> {
        let name = self.kind;
        let refused = |why: &str| Failure::bad_request(format!("the body must be a {name}: {why}"));
        if !value.is_object() {
            return Err(refused("it is no object"));
        }
        let said = |field: &str| value[field].as_str().filter(|said| !said.is_empty());
        if let Some(kind) = said("kind").filter(|kind| *kind != name) {
            return Err(refused(&format!("its kind is {kind:?}")));
        }
        let known = |version: &&str| self.api_versions.contains(version);
        if let Some(version) = said("apiVersion").filter(|version| !known(version))
            && let [wanted, ..] = self.api_versions
        {
            let why = format!("its apiVersion is {version:?} instead of {wanted:?}");
            return Err(refused(&why));
        }
        let schema = builtins().schema(&(self.definition)());
        match validate::wrong_type(schema.at_root(), value, "") {
            None => Ok(()),
            Some((path, wanted)) => {
                let found = found(value, &path);
                Err(Failure::bad_request(format!(
                    "json: cannot unmarshal {found} into Go struct field {name}.{path} of type {wanted}"
                )))
            }
        }
    }
}

/// The options of a deletion, which may be left out.
pub(crate) fn options<T: for<'de> Deserialize<'de> + Default>(
    body: &[u8],
    content_type: &str,
) -> Result<T, Failure> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_value(DELETE_OPTIONS.decode(body, content_type)?)
        .map_err(|error| Failure::bad_request(format!("error decoding the options: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::{
        ACCESS_REVIEW, EVICTION, RULES_REVIEW, SCALE, SUBJECT_REVIEW, TOKEN_REQUEST, TOKEN_REVIEW,
    };

    #[test]
    fn what_is_no_object_is_no_struct() {
        for (kind, bodies) in [
            (
                &DELETE_OPTIONS,
                vec![json!({"preconditions": ["uid"]}), json!({"dryRun": "All"})],
            ),
            (
                &EVICTION,
                vec![
                    json!({"deleteOptions": [0]}),
                    json!({"deleteOptions": {"preconditions": []}}),
                ],
            ),
            (&SCALE, vec![json!({"spec": []}), json!({"spec": [3]})]),
            (
                &TOKEN_REQUEST,
                vec![
                    json!({"spec": []}),
                    json!({"spec": {"boundObjectRef": ["Pod", "v1", "a", ""]}}),
                    json!({"spec": {"audiences": "a"}}),
                ],
            ),
            (
                &TOKEN_REVIEW,
                vec![
                    json!({"spec": []}),
                    json!({"spec": {"audiences": "a"}}),
                    json!({"spec": {"audiences": [1]}}),
                    json!({"spec": {"token": 1}}),
                ],
            ),
            (&SUBJECT_REVIEW, vec![json!({"metadata": []})]),
            (
                &ACCESS_REVIEW,
                vec![
                    json!({"spec": []}),
                    json!({"spec": {"resourceAttributes": []}}),
                ],
            ),
            (&RULES_REVIEW, vec![json!({"spec": ["default"]})]),
        ] {
            let name = kind.kind;
            for body in bodies.into_iter().chain([
                json!([]),
                json!("x"),
                Value::Null,
                json!({"kind": "Pod"}),
                json!({"apiVersion": "v2", "kind": "Pod"}),
            ]) {
                let refused = kind.check(&body).expect_err(name);
                assert_eq!(refused.code, 400, "{name}: {body}");
                assert!(refused.message.contains(name), "{refused}");
            }
            let own = kind.api_versions.first().unwrap_or(&"apps/v1");
            for body in [json!({}), json!({"kind": name, "apiVersion": own})] {
                assert_eq!(kind.check(&body), Ok(()), "{body}");
            }
            let other = json!({"kind": name, "apiVersion": "apps/v2"});
            assert_eq!(kind.check(&other).is_ok(), kind.api_versions.is_empty());
        }
    }
}
