//! What is wrong with single fields, in the words of Kubernetes' `field.Error`.

use std::fmt;

use serde_json::{Value, json};

/// One thing that is wrong with one field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FieldError {
    pub(crate) kind: FieldErrorKind,
    /// Path such as `spec.containers[0].name`.
    pub(crate) field: String,
    /// Everything after the path and the colon.
    body: String,
}

/// The reasons of `field.Error` in Kubernetes' apimachinery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FieldErrorKind {
    Required,
    Invalid,
    TypeInvalid,
    NotSupported,
    Duplicate,
    TooLong,
    TooMany,
    Forbidden,
    NotFound,
}

// === impl FieldError ===

impl FieldError {
    fn build(kind: FieldErrorKind, field: impl Into<String>, body: String) -> Self {
        Self {
            kind,
            field: field.into(),
            body,
        }
    }

    pub(crate) fn required(field: impl Into<String>, detail: impl AsRef<str>) -> Self {
        Self::build(
            FieldErrorKind::Required,
            field,
            with_detail("Required value", detail.as_ref()),
        )
    }

    pub(crate) fn invalid(
        field: impl Into<String>,
        value: &Value,
        detail: impl AsRef<str>,
    ) -> Self {
        Self::build(
            FieldErrorKind::Invalid,
            field,
            with_detail(&format!("Invalid value: {value}"), detail.as_ref()),
        )
    }

    /// A value that breaks a rule, and is too large to be repeated.
    pub(crate) fn unfit(field: impl Into<String>, detail: impl AsRef<str>) -> Self {
        let body = with_detail("Invalid value", detail.as_ref());
        Self::build(FieldErrorKind::Invalid, field, body)
    }

    pub(crate) fn type_invalid(
        field: impl Into<String>,
        value: &Value,
        detail: impl AsRef<str>,
    ) -> Self {
        Self {
            kind: FieldErrorKind::TypeInvalid,
            ..Self::invalid(field, value, detail)
        }
    }

    pub(crate) fn not_supported(
        field: impl Into<String>,
        value: &Value,
        supported: &[String],
    ) -> Self {
        let body = format!(
            "Unsupported value: {value}: supported values: {}",
            supported.join(", ")
        );
        Self::build(FieldErrorKind::NotSupported, field, body)
    }

    pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::build(
            FieldErrorKind::Duplicate,
            field,
            format!("Duplicate value: {value}"),
        )
    }

    pub(crate) fn too_long(field: impl Into<String>, most: u64) -> Self {
        Self::build(
            FieldErrorKind::TooLong,
            field,
            format!("Too long: may not be more than {most} bytes"),
        )
    }

    pub(crate) fn too_many(field: impl Into<String>, actual: usize, most: u64) -> Self {
        Self::build(
            FieldErrorKind::TooMany,
            field,
            format!("Too many: {actual}: must have at most {most} items"),
        )
    }

    pub(crate) fn forbidden(field: impl Into<String>, detail: impl AsRef<str>) -> Self {
        Self::build(
            FieldErrorKind::Forbidden,
            field,
            with_detail("Forbidden", detail.as_ref()),
        )
    }

    pub(crate) fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self::build(
            FieldErrorKind::NotFound,
            field,
            format!("Not found: {value}"),
        )
    }

    pub(super) fn cause(&self) -> Value {
        let reason = match self.kind {
            FieldErrorKind::Required => "FieldValueRequired",
            FieldErrorKind::Invalid => "FieldValueInvalid",
            FieldErrorKind::TypeInvalid => "FieldValueTypeInvalid",
            FieldErrorKind::NotSupported => "FieldValueNotSupported",
            FieldErrorKind::Duplicate => "FieldValueDuplicate",
            FieldErrorKind::TooLong => "FieldValueTooLong",
            FieldErrorKind::TooMany => "FieldValueTooMany",
            FieldErrorKind::Forbidden => "FieldValueForbidden",
            FieldErrorKind::NotFound => "FieldValueNotFound",
        };
        json!({"reason": reason, "message": self.body, "field": self.field})
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body)
    }
}

fn with_detail(head: &str, detail: &str) -> String {
    if detail.is_empty() {
        head.to_owned()
    } else {
        format!("{head}: {detail}")
    }
}
