//! Deployments and ReplicaSets.

use serde_json::{Value, json};

use super::{container::one_of, default, fields, inner, items, meta, pod, text};
use crate::{resource::Hooks, selector::LabelSelector, status::FieldError};

pub(crate) const DEPLOYMENT: Hooks = Hooks {
    prepare: prepare_deployment,
    validate: validate_deployment,
    skeleton,
    ..Hooks::BUILTIN
};

pub(crate) const REPLICA_SET: Hooks = Hooks {
    prepare: |object, _| prepare(object),
    validate,
    skeleton,
    ..Hooks::BUILTIN
};

fn skeleton() -> Value {
    json!({"metadata": {}, "status": {}, "spec": {
        "strategy": {}, "template": {"metadata": {}, "spec": {"containers": null}},
    }})
}

fn prepare(object: &mut Value) {
    default(object, "spec", json!({}));
    let spec = &mut object["spec"];
    default(spec, "replicas", 1);
    if let Some(template) = inner(spec, "template") {
        default(template, "metadata", json!({}));
        if let Some(spec) = inner(template, "spec") {
            pod::spec_defaults(spec);
        }
    }
}

fn prepare_deployment(object: &mut Value, _old: Option<&Value>) {
    prepare(object);
    let spec = &mut object["spec"];
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "progressDeadlineSeconds", 600);
    default(spec, "strategy", json!({}));
    let strategy = &mut spec["strategy"];
    default(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        default(strategy, "rollingUpdate", json!({}));
        default(&mut strategy["rollingUpdate"], "maxUnavailable", "25%");
        default(&mut strategy["rollingUpdate"], "maxSurge", "25%");
    }
}

fn validate_deployment(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    validate(object, old, errors);
    let spec = &object["spec"];
    let strategy = &spec["strategy"];
    one_of(
        strategy,
        "type",
        "spec.strategy",
        &["Recreate", "RollingUpdate"],
        errors,
    );
    if strategy["type"] == "Recreate" && !strategy["rollingUpdate"].is_null() {
        errors.push(FieldError::forbidden(
            "spec.strategy.rollingUpdate",
            "may not be specified when strategy `type` is 'Recreate'",
        ));
    }
    let zero = |value: &Value| value == 0 || value == "0" || value == "0%";
    let rolling = &strategy["rollingUpdate"];
    if zero(&rolling["maxSurge"]) && zero(&rolling["maxUnavailable"]) {
        errors.push(FieldError::invalid(
            "spec.strategy.rollingUpdate.maxUnavailable",
            &rolling["maxUnavailable"],
            "may not be 0 when `maxSurge` is 0",
        ));
    }
    let (deadline, ready) = (&spec["progressDeadlineSeconds"], &spec["minReadySeconds"]);
    if deadline.as_i64().unwrap_or(i64::MAX) <= ready.as_i64().unwrap_or(0) {
        errors.push(FieldError::invalid(
            "spec.progressDeadlineSeconds",
            deadline,
            "must be greater than minReadySeconds",
        ));
    }
}

fn validate(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        if spec[field].as_i64().is_some_and(|count| count < 0) {
            errors.push(FieldError::invalid(
                format!("spec.{field}"),
                &spec[field],
                "must be greater than or equal to 0",
            ));
        }
    }
    selector(spec, errors);
    let template = &spec["template"];
    meta::labels(
        &template["metadata"]["labels"],
        "spec.template.metadata.labels",
        errors,
    );
    pod::spec_rules(&template["spec"], "spec.template.spec", errors);
    let restart = &template["spec"]["restartPolicy"];
    if restart == "Never" || restart == "OnFailure" {
        errors.push(FieldError::not_supported(
            "spec.template.spec.restartPolicy",
            restart,
            &["\"Always\"".to_owned()],
        ));
    }
    if let Some(old) = old
        && old["spec"]["selector"] != spec["selector"]
    {
        errors.push(FieldError::invalid(
            "spec.selector",
            &spec["selector"],
            "field is immutable",
        ));
    }
}

fn selector(spec: &Value, errors: &mut Vec<FieldError>) {
    let selector = &spec["selector"];
    if selector.is_null() {
        errors.push(FieldError::required("spec.selector", ""));
        return;
    }
    meta::labels(
        &selector["matchLabels"],
        "spec.selector.matchLabels",
        errors,
    );
    for (index, one) in items(selector, "matchExpressions") {
        let path = format!("spec.selector.matchExpressions[{index}]");
        one_of(
            one,
            "operator",
            &path,
            &["DoesNotExist", "Exists", "In", "NotIn"],
            errors,
        );
        if matches!(text(one, "operator"), "In" | "NotIn")
            && one["values"].as_array().is_none_or(Vec::is_empty)
        {
            errors.push(FieldError::required(
                format!("{path}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            ));
        }
    }
    if fields(&selector["matchLabels"]).count() + items(selector, "matchExpressions").count() == 0 {
        errors.push(FieldError::invalid(
            "spec.selector",
            selector,
            "empty selector is invalid for deployment",
        ));
    }
    let labels = &spec["template"]["metadata"]["labels"];
    if !LabelSelector::from_object(selector).matches(labels) {
        errors.push(FieldError::invalid(
            "spec.template.metadata.labels",
            labels,
            "`selector` does not match template `labels`",
        ));
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
