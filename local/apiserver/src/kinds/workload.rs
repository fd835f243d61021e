//! Deployments and ReplicaSets.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector as Selector, util::intstr::IntOrString},
};
use serde_json::{Value, json};

use super::{
    default, meta, pod,
    rule::{not_negative, one_of},
};
use crate::{resource::Hooks, selector::LabelSelector, status::FieldError, typed};

pub(crate) const DEPLOYMENT: Hooks = Hooks {
    check: typed::check::<Deployment>,
    prepare: prepare_deployment,
    validate: validate_deployment,
    skeleton,
    ..Hooks::BUILTIN
};

pub(crate) const REPLICA_SET: Hooks = Hooks {
    check: typed::check::<ReplicaSet>,
    prepare: prepare_replica_set,
    validate: validate_replica_set,
    skeleton,
    ..Hooks::BUILTIN
};

/// What Deployments and ReplicaSets have alike.
struct Common<'a> {
    replicas: Option<i32>,
    min_ready_seconds: Option<i32>,
    revision_history_limit: Option<i32>,
    selector: &'a Selector,
    template: &'a PodTemplateSpec,
}

fn skeleton() -> Value {
    json!({"metadata": {}, "status": {}, "spec": {
        "strategy": {}, "template": {"metadata": {}, "spec": {"containers": null}},
    }})
}

fn prepare_template(template: &mut PodTemplateSpec) {
    template.metadata.get_or_insert_default();
    if let Some(spec) = &mut template.spec {
        pod::spec_defaults(spec);
    }
}

fn prepare_replica_set(object: &mut Value, old: Option<&Value>) {
    default(object, "spec", json!({}));
    if old.is_some_and(|old| old["spec"] == object["spec"]) {
        return;
    }
    typed::change(&mut object["spec"], |spec: &mut ReplicaSetSpec| {
        spec.replicas.get_or_insert(1);
        if let Some(template) = &mut spec.template {
            prepare_template(template);
        }
    });
}

fn prepare_deployment(object: &mut Value, old: Option<&Value>) {
    default(object, "spec", json!({}));
    if old.is_some_and(|old| old["spec"] == object["spec"]) {
        return;
    }
    typed::change(&mut object["spec"], |spec: &mut DeploymentSpec| {
        spec.replicas.get_or_insert(1);
        prepare_template(&mut spec.template);
        spec.revision_history_limit.get_or_insert(10);
        spec.progress_deadline_seconds.get_or_insert(600);
        let strategy = spec.strategy.get_or_insert_default();
        let type_ = strategy
            .type_
            .get_or_insert_with(|| "RollingUpdate".to_owned());
        if type_ == "RollingUpdate" {
            let quarter = || IntOrString::String("25%".to_owned());
            let rolling = strategy.rolling_update.get_or_insert_default();
            rolling.max_unavailable.get_or_insert_with(quarter);
            rolling.max_surge.get_or_insert_with(quarter);
        }
    });
}

fn validate_deployment(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let old = old.map(|old| &old["spec"]);
    typed::rules(&object["spec"], old, errors, deployment_rules);
}

fn validate_replica_set(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let old = old.map(|old| &old["spec"]);
    typed::rules(
        &object["spec"],
        old,
        errors,
        |spec: &ReplicaSetSpec, old, errors| {
            let none = PodTemplateSpec::default();
            let common = Common {
                replicas: spec.replicas,
                min_ready_seconds: spec.min_ready_seconds,
                revision_history_limit: None,
                selector: &spec.selector,
                template: spec.template.as_ref().unwrap_or(&none),
            };
            common.validate(old.map(|old| &old.selector), errors);
        },
    );
}

fn deployment_rules(
    spec: &DeploymentSpec,
    old: Option<&DeploymentSpec>,
    errors: &mut Vec<FieldError>,
) {
    let common = Common {
        replicas: spec.replicas,
        min_ready_seconds: spec.min_ready_seconds,
        revision_history_limit: spec.revision_history_limit,
        selector: &spec.selector,
        template: &spec.template,
    };
    common.validate(old.map(|old| &old.selector), errors);
    let strategy = spec.strategy.clone().unwrap_or_default();
    let type_ = strategy.type_.as_deref();
    one_of(
        type_,
        "spec.strategy.type",
        &["Recreate", "RollingUpdate"],
        errors,
    );
    if type_ == Some("Recreate") && strategy.rolling_update.is_some() {
        errors.push(FieldError::forbidden(
            "spec.strategy.rollingUpdate",
            "may not be specified when strategy `type` is 'Recreate'",
        ));
    }
    let rolling = strategy.rolling_update.unwrap_or_default();
    if is_zero(rolling.max_surge.as_ref()) && is_zero(rolling.max_unavailable.as_ref()) {
        errors.push(FieldError::invalid(
            "spec.strategy.rollingUpdate.maxUnavailable",
            &json!(rolling.max_unavailable),
            "may not be 0 when `maxSurge` is 0",
        ));
    }
    let ready = spec.min_ready_seconds.unwrap_or(0);
    if let Some(deadline) = spec.progress_deadline_seconds
        && deadline <= ready
    {
        errors.push(FieldError::invalid(
            "spec.progressDeadlineSeconds",
            &json!(deadline),
            "must be greater than minReadySeconds",
        ));
    }
}

fn is_zero(share: Option<&IntOrString>) -> bool {
    match share {
        Some(IntOrString::Int(number)) => *number == 0,
        Some(IntOrString::String(text)) => text == "0" || text == "0%",
        None => false,
    }
}

// === impl Common ===

impl Common<'_> {
    /// Rules of both kinds; `old` is the selector as it was.
    fn validate(&self, old: Option<&Selector>, errors: &mut Vec<FieldError>) {
        for (field, count) in [
            ("replicas", self.replicas),
            ("minReadySeconds", self.min_ready_seconds),
            ("revisionHistoryLimit", self.revision_history_limit),
        ] {
            not_negative(count, &format!("spec.{field}"), errors);
        }
        let metadata = self.template.metadata.as_ref();
        let labels = metadata.and_then(|metadata| metadata.labels.as_ref());
        self.validate_selector(labels, errors);
        meta::labels(meta::pairs(labels), "spec.template.metadata.labels", errors);
        let spec = self.template.spec.clone().unwrap_or_default();
        pod::spec_rules(&spec, "spec.template.spec", errors);
        if let Some(restart @ ("Never" | "OnFailure")) = spec.restart_policy.as_deref() {
            errors.push(FieldError::not_supported(
                "spec.template.spec.restartPolicy",
                &json!(restart),
                &["\"Always\"".to_owned()],
            ));
        }
        if old.is_some_and(|old| old != self.selector) {
            errors.push(FieldError::invalid(
                "spec.selector",
                &json!(self.selector),
                "field is immutable",
            ));
        }
    }

    fn validate_selector(
        &self,
        labels: Option<&BTreeMap<String, String>>,
        errors: &mut Vec<FieldError>,
    ) {
        let Selector {
            match_labels,
            match_expressions,
        } = self.selector;
        let pairs = meta::pairs(match_labels.as_ref());
        meta::labels(pairs, "spec.selector.matchLabels", errors);
        let expressions = match_expressions.as_deref().unwrap_or_default();
        for (index, one) in expressions.iter().enumerate() {
            let path = format!("spec.selector.matchExpressions[{index}]");
            one_of(
                Some(&one.operator),
                &format!("{path}.operator"),
                &["DoesNotExist", "Exists", "In", "NotIn"],
                errors,
            );
            let values = one.values.as_deref().unwrap_or_default();
            if matches!(one.operator.as_str(), "In" | "NotIn") && values.is_empty() {
                errors.push(FieldError::required(
                    format!("{path}.values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                ));
            }
        }
        if expressions.is_empty() && match_labels.as_ref().is_none_or(BTreeMap::is_empty) {
            errors.push(FieldError::invalid(
                "spec.selector",
                &json!(self.selector),
                "empty selector is invalid for deployment",
            ));
        }
        if !LabelSelector::of(self.selector).matches(&labels) {
            errors.push(FieldError::invalid(
                "spec.template.metadata.labels",
                &json!(labels),
                "`selector` does not match template `labels`",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Value {
        json!({"spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {"containers": [{"name": "a", "image": "x"}]},
            },
        }})
    }

    #[test]
    fn a_deployment_gets_the_defaults_of_kubernetes() {
        let mut object = deployment();
        prepare_deployment(&mut object, None);
        let spec = &object["spec"];
        assert_eq!(spec["replicas"], 1);
        assert_eq!(
            spec["strategy"]["rollingUpdate"],
            json!({"maxSurge": "25%", "maxUnavailable": "25%"})
        );
        assert_eq!(spec["revisionHistoryLimit"], 10);
        assert_eq!(spec["progressDeadlineSeconds"], 600);
        assert_eq!(spec["template"]["spec"]["restartPolicy"], "Always");
        assert!(spec["template"]["spec"]["enableServiceLinks"].is_null());
        let mut errors = Vec::new();
        validate_deployment(&object, None, &mut errors);
        assert_eq!(errors, []);
    }

    #[test]
    fn the_selector_must_match_and_stay() {
        let mut object = deployment();
        prepare_deployment(&mut object, None);
        let old = object.clone();
        object["spec"]["selector"]["matchLabels"]["app"] = json!("b");
        let mut errors = Vec::new();
        validate_deployment(&object, Some(&old), &mut errors);
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(
            text[0].ends_with("`selector` does not match template `labels`"),
            "{text:?}"
        );
        assert!(text[1].ends_with("field is immutable"), "{text:?}");
    }
}
