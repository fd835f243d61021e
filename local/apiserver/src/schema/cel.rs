//! The rules of a custom resource (`x-kubernetes-validations`), compiled once per definition.

use kube::core::cel::{
    CompilationError, CompiledSchema, ErrorKind, compile_schema, validate_compiled,
};
use serde_json::{Value, json};

use super::{validate::name_of, value_at};
use crate::status::{FieldError, FieldErrorKind};

/// The compiled rules of one version of a custom resource.
pub(crate) struct Rules {
    compiled: CompiledSchema,
}

/// What an API server says when it could not run the rules because of other errors.
const NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

// === impl Rules ===

impl Rules {
    pub(crate) fn compile(schema: &Value) -> Self {
        Self {
            compiled: compile_schema(schema),
        }
    }

    /// Rules that are no CEL, one sentence each.
    pub(crate) fn defects(&self) -> Vec<String> {
        let mut found = Vec::new();
        defects(&self.compiled, &mut found);
        found
    }

    /// Runs the rules, unless `errors` already holds some that make the value unfit for them.
    pub(crate) fn check(&self, value: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
        if errors.iter().any(|error| blocks(error.kind)) {
            errors.push(FieldError::invalid("<nil>", &Value::Null, NOT_CHECKED));
            return;
        }
        let Err(broken) = validate_compiled(&self.compiled, value, old) else {
            return;
        };
        let mut broken = broken.into_vec();
        broken.sort_by(|one, other| one.field_path.cmp(&other.field_path));
        for error in broken {
            let field = error.field_path.trim_start_matches('.').to_owned();
            let kind = json!(name_of(value_at(value, &field)));
            errors.push(match (error.kind, error.reason.as_deref()) {
                (ErrorKind::ValidationFailure, Some("FieldValueForbidden")) => {
                    FieldError::forbidden(field, error.message)
                }
                (ErrorKind::ValidationFailure, Some("FieldValueRequired")) => {
                    FieldError::required(field, error.message)
                }
                (ErrorKind::ValidationFailure, Some("FieldValueDuplicate")) => {
                    FieldError::duplicate(field, &kind)
                }
                _ => match value_at(value, &field) {
                    Value::Object(_) | Value::Array(_) => FieldError::unfit(field, error.message),
                    scalar => FieldError::invalid(field, scalar, error.message),
                },
            });
        }
    }
}

/// Errors after which a rule would trip over values that it takes for granted.
fn blocks(kind: FieldErrorKind) -> bool {
    matches!(
        kind,
        FieldErrorKind::Required
            | FieldErrorKind::TooLong
            | FieldErrorKind::TooMany
            | FieldErrorKind::TypeInvalid
    )
}

fn defects(schema: &CompiledSchema, found: &mut Vec<String>) {
    found.extend(
        schema
            .compilation_errors()
            .into_iter()
            .map(CompilationError::to_string),
    );
    let branches = schema.properties.values().chain(&schema.all_of);
    let branches = branches.chain(&schema.any_of).chain(&schema.one_of);
    let boxed = schema.items.iter().chain(&schema.additional_properties);
    for child in branches.chain(boxed.map(AsRef::as_ref)) {
        defects(child, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules::compile(&json!({"type": "object", "properties": {"spec": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "x-kubernetes-validations": [
                {"rule": "self.a <= self.b", "message": "a must be at most b"},
                {"rule": "self.a == oldSelf.a", "message": "a cannot be changed", "reason": "FieldValueForbidden"},
            ],
        }}}))
    }

    #[test]
    fn a_broken_rule_is_an_error_at_its_place() {
        let mut errors = Vec::new();
        rules().check(&json!({"spec": {"a": 2, "b": 1}}), None, &mut errors);
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors, ["spec: Invalid value: a must be at most b"]);
    }

    #[test]
    fn a_transition_rule_sees_the_old_value_and_only_then_runs() {
        let mut errors = Vec::new();
        let old = json!({"spec": {"a": 1, "b": 9}});
        rules().check(&json!({"spec": {"a": 2, "b": 9}}), Some(&old), &mut errors);
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors, ["spec: Forbidden: a cannot be changed"]);
    }

    #[test]
    fn rules_wait_for_a_value_that_has_the_right_shape() {
        let mut errors = vec![FieldError::required("spec.a", "")];
        rules().check(&json!({"spec": {"b": 1}}), None, &mut errors);
        assert_eq!(errors.len(), 2);
        assert!(errors[1].to_string().contains("were not checked"));
    }

    #[test]
    fn a_rule_that_is_no_cel_is_a_defect_of_the_definition() {
        let rules = Rules::compile(&json!({"properties": {"a": {"items": {
            "x-kubernetes-validations": [{"rule": "self >="}],
        }}}}));
        assert_eq!(rules.defects().len(), 1);
    }
}
