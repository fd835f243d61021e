//! Every refusal, as the `Status` object that clients of Kubernetes expect
//! (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>).

mod field_error;

use std::fmt;

use serde_json::{Value, json};

pub(crate) use self::field_error::{FieldError, FieldErrorKind};

/// A request that was refused: an HTTP status code and the words for it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) details: Option<Value>,
}

/// What a resource is called in messages: `deployments.apps`, or `pods` in the core group.
pub(crate) fn qualified(plural: &str, group: &str) -> String {
    if group.is_empty() {
        plural.to_owned()
    } else {
        format!("{plural}.{group}")
    }
}

// === impl Failure ===

impl Failure {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// The options of a request are not as they have to be. `kind` is what they are called, such as
    /// `CreateOptions`.
    pub(crate) fn options(kind: &str, error: FieldError) -> Self {
        Self::invalid("meta.k8s.io", kind, "", &[error])
    }

    /// An error that has no reason of its own, as a plain Go error has none.
    pub(crate) fn unclassified(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn forbidden(group: &str, plural: &str, name: &str, why: impl fmt::Display) -> Self {
        let mut failure = Self::new(
            403,
            "Forbidden",
            format!("{} {name:?} is forbidden: {why}", qualified(plural, group)),
        );
        failure.details = Some(json!({"name": name, "group": group, "kind": plural}));
        failure.tidy()
    }

    pub(crate) fn not_found(group: &str, plural: &str, name: &str) -> Self {
        let mut failure = Self::new(
            404,
            "NotFound",
            format!("{} {name:?} not found", qualified(plural, group)),
        );
        failure.details = Some(json!({"name": name, "group": group, "kind": plural}));
        failure.tidy()
    }

    /// No resource is served under this path.
    pub(crate) fn no_such_path() -> Self {
        let mut failure = Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        );
        failure.details = Some(json!({}));
        failure
    }

    /// Nothing at all is served under this path, not even a group of resources.
    pub(crate) fn no_such_page() -> Self {
        Self::new(404, "", "404 page not found\n")
    }

    /// The client asked for something that a patch cannot do.
    pub(crate) fn patch_rejected() -> Self {
        let mut failure = Self::new(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
        );
        failure.details = Some(json!({}));
        failure
    }

    pub(crate) fn method_not_allowed() -> Self {
        let mut failure = Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        failure.details = Some(json!({}));
        failure
    }

    pub(crate) fn already_exists(group: &str, plural: &str, name: &str) -> Self {
        let mut failure = Self::new(
            409,
            "AlreadyExists",
            format!("{} {name:?} already exists", qualified(plural, group)),
        );
        failure.details = Some(json!({"name": name, "group": group, "kind": plural}));
        failure.tidy()
    }

    pub(crate) fn conflict(group: &str, plural: &str, name: &str, why: impl fmt::Display) -> Self {
        let mut failure = Self::new(
            409,
            "Conflict",
            format!(
                "Operation cannot be fulfilled on {} {name:?}: {why}",
                qualified(plural, group)
            ),
        );
        failure.details = Some(json!({"name": name, "group": group, "kind": plural}));
        failure.tidy()
    }

    /// The optimistic lock did not hold.
    pub(crate) fn modified(group: &str, plural: &str, name: &str) -> Self {
        Self::conflict(
            group,
            plural,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {limit}"),
        )
    }

    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(crate) fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let what = match errors {
            [one] => one.to_string(),
            many => {
                let all: Vec<String> = many.iter().map(ToString::to_string).collect();
                format!("[{}]", all.join(", "))
            }
        };
        let mut failure = Self::new(
            422,
            "Invalid",
            format!("{} {name:?} is invalid: {what}", qualified(kind, group)),
        );
        let causes: Vec<Value> = errors.iter().map(FieldError::cause).collect();
        failure.details =
            Some(json!({"name": name, "group": group, "kind": kind, "causes": causes}));
        failure.tidy()
    }

    pub(crate) fn too_many_requests(message: impl Into<String>, seconds: u32) -> Self {
        let mut failure = Self::new(429, "TooManyRequests", message);
        failure.details = Some(json!({"retryAfterSeconds": seconds}));
        failure
    }

    pub(crate) fn internal(message: impl fmt::Display) -> Self {
        Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
        )
    }

    /// A read asked for a resourceVersion that does not exist yet.
    pub(crate) fn too_large_version(asked: u64, now: u64) -> Self {
        let mut failure = Self::new(
            504,
            "Timeout",
            format!("Timeout: Too large resource version: {asked}, current: {now}"),
        );
        failure.details = Some(json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        }));
        failure
    }

    /// Adds one cause to the details.
    pub(crate) fn with_cause(mut self, cause: Value) -> Self {
        let details = self.details.get_or_insert_with(|| json!({}));
        if let Some(details) = details.as_object_mut() {
            let causes = details.entry("causes").or_insert_with(|| json!([]));
            if let Some(causes) = causes.as_array_mut() {
                causes.push(cause);
            }
        }
        self
    }

    /// The `Status` object.
    pub(crate) fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        if let Some(map) = status.as_object_mut() {
            if let Some(details) = &self.details {
                map.insert("details".to_owned(), details.clone());
            }
            if self.reason.is_empty() {
                map.remove("reason");
            }
        }
        status
    }

    /// Leaves out an empty name or group, as Go's `omitempty` does.
    pub(crate) fn tidy(mut self) -> Self {
        if let Some(details) = self.details.as_mut().and_then(Value::as_object_mut) {
            details.retain(|_, value| value.as_str() != Some(""));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_stands_alone_and_several_are_bracketed() {
        let one = FieldError::required("spec.image", "");
        let two = FieldError::invalid("spec.port", &json!(0), "must be more than 0");
        let failure = Failure::invalid("fermata.dev", "Function", "x", std::slice::from_ref(&one));
        assert_eq!(
            failure.message,
            "Function.fermata.dev \"x\" is invalid: spec.image: Required value"
        );
        let failure = Failure::invalid("fermata.dev", "Function", "x", &[one, two]);
        assert_eq!(
            failure.message,
            "Function.fermata.dev \"x\" is invalid: [spec.image: Required value, spec.port: Invalid value: 0: must be more than 0]"
        );
        let causes = &failure.details.expect("details")["causes"];
        assert_eq!(causes[1]["reason"], "FieldValueInvalid");
        assert_eq!(causes[1]["field"], "spec.port");
    }

    #[test]
    fn the_core_group_is_not_named() {
        let failure = Failure::not_found("", "pods", "x");
        assert_eq!(failure.message, "pods \"x\" not found");
        assert_eq!(
            failure.details.expect("details"),
            json!({"name": "x", "kind": "pods"})
        );
    }
}
