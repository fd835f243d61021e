//! Pods and the templates of pods.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{
    container::{self, quantity},
    default, fields, items, items_mut, text, volume,
};
use crate::{names, resource::Hooks, schema::quantity::Quantity, status::FieldError};

pub(crate) const HOOKS: Hooks = Hooks {
    prepare,
    validate,
    ..Hooks::BUILTIN
};

const IMMUTABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

fn prepare(pod: &mut Value, old: Option<&Value>) {
    default(pod, "spec", json!({}));
    let spec = &mut pod["spec"];
    spec_defaults(spec);
    default(spec, "enableServiceLinks", true);
    for field in ["containers", "initContainers"] {
        for container in items_mut(spec, field) {
            requests_from_limits(container);
        }
    }
    if old.is_none() {
        default(spec, "serviceAccountName", "default");
        let account = spec["serviceAccountName"].clone();
        default(spec, "serviceAccount", account);
        default(spec, "priority", 0);
        default(spec, "preemptionPolicy", "PreemptLowerPriority");
        let quality = quality(spec);
        pod["status"] = json!({"phase": "Pending", "qosClass": quality});
    }
}

/// Fills in the defaults of a pod's spec, be it of a pod or of a template.
pub(super) fn spec_defaults(spec: &mut Value) {
    default(spec, "restartPolicy", "Always");
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "schedulerName", "default-scheduler");
    default(spec, "securityContext", json!({}));
    volume::prepare(spec);
    for field in ["containers", "initContainers"] {
        for container in items_mut(spec, field) {
            container::prepare(container);
        }
    }
}

/// A limit without a request is also the request.
fn requests_from_limits(container: &mut Value) {
    let limits = container["resources"]["limits"].clone();
    for (name, amount) in fields(&limits) {
        default(&mut container["resources"], "requests", json!({}));
        default(
            &mut container["resources"]["requests"],
            name,
            amount.clone(),
        );
    }
}

/// The class that decides who has to go first when a machine runs out of something.
fn quality(spec: &Value) -> &'static str {
    let mut any = false;
    let mut all_equal = true;
    for (_, container) in items(spec, "containers").chain(items(spec, "initContainers")) {
        let resources = &container["resources"];
        for name in ["cpu", "memory"] {
            let amount = |kind: &str| {
                quantity(&resources[kind][name]).filter(|amount| *amount != Quantity::ZERO)
            };
            let (limit, request) = (amount("limits"), amount("requests"));
            any |= limit.is_some() || request.is_some();
            all_equal &= limit.is_some() && limit == request;
        }
    }
    match (any, all_equal) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn validate(pod: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    spec_rules(&pod["spec"], "spec", errors);
    if let Some(old) = old
        && comparable(&pod["spec"]) != comparable(&old["spec"])
    {
        errors.push(FieldError::forbidden("spec", IMMUTABLE));
    }
}

/// The spec without what may be changed.
fn comparable(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for field in ["containers", "initContainers"] {
        for container in items_mut(&mut spec, field) {
            container["image"].take();
        }
    }
    if let Some(spec) = spec.as_object_mut() {
        for field in [
            "activeDeadlineSeconds",
            "tolerations",
            "terminationGracePeriodSeconds",
            "ephemeralContainers",
            "schedulingGates",
        ] {
            spec.remove(field);
        }
    }
    spec
}

/// Rules for a pod's spec, be it of a pod or of a template.
pub(super) fn spec_rules(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let volumes = volume::validate(spec, path, errors);
    if spec["containers"].as_array().is_none_or(Vec::is_empty) {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let mut names = HashSet::new();
    for field in ["initContainers", "containers"] {
        container::validate(spec, field, path, &volumes, &mut names, errors);
    }
    container::one_of(
        spec,
        "restartPolicy",
        path,
        &["Always", "OnFailure", "Never"],
        errors,
    );
    container::one_of(
        spec,
        "dnsPolicy",
        path,
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        errors,
    );
    let grace = &spec["terminationGracePeriodSeconds"];
    if grace.as_i64().is_some_and(|seconds| seconds < 0) {
        errors.push(FieldError::invalid(
            format!("{path}.terminationGracePeriodSeconds"),
            grace,
            "must be greater than or equal to 0",
        ));
    }
    let account = text(spec, "serviceAccountName");
    if let Some(why) = names::subdomain(account).filter(|_| !account.is_empty()) {
        errors.push(FieldError::invalid(
            format!("{path}.serviceAccountName"),
            &json!(account),
            why,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({"spec": {"containers": [{
            "name": "a", "image": "x:1", "ports": [{"containerPort": 80}],
            "readinessProbe": {"httpGet": {"port": 80}},
            "resources": {"limits": {"cpu": "1000m"}},
        }], "volumes": [{"name": "v"}, {"name": "c", "configMap": {"name": "x"}}]}})
    }

    #[test]
    fn a_pod_gets_the_defaults_of_kubernetes() {
        let mut pod = pod();
        prepare(&mut pod, None);
        let spec = &pod["spec"];
        assert_eq!(spec["restartPolicy"], "Always");
        assert_eq!(spec["terminationGracePeriodSeconds"], 30);
        assert_eq!(spec["volumes"][0]["emptyDir"], json!({}));
        assert_eq!(spec["volumes"][1]["configMap"]["defaultMode"], 420);
        let container = &spec["containers"][0];
        assert_eq!(container["imagePullPolicy"], "IfNotPresent");
        assert_eq!(container["ports"][0]["protocol"], "TCP");
        assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/");
        assert_eq!(container["resources"]["limits"]["cpu"], "1");
        assert_eq!(container["resources"]["requests"]["cpu"], "1");
        assert_eq!(
            pod["status"],
            json!({"phase": "Pending", "qosClass": "Burstable"})
        );
    }

    #[test]
    fn the_pull_policy_depends_on_the_tag() {
        for (image, policy) in [
            ("x", "Always"),
            ("x:latest", "Always"),
            ("host:5000/x", "Always"),
            ("host:5000/x:1", "IfNotPresent"),
            ("x@sha256:00", "IfNotPresent"),
        ] {
            let mut container = json!({"name": "a", "image": image});
            container::prepare(&mut container);
            assert_eq!(container["imagePullPolicy"], policy, "{image}");
        }
    }

    #[test]
    fn a_bad_pod_is_refused_field_by_field() {
        let pod = json!({"spec": {
            "restartPolicy": "Sometimes",
            "volumes": [{"name": "v"}, {"name": "v"}],
            "containers": [
                {"name": "A", "image": "x"},
                {"name": "b", "volumeMounts": [{"name": "nope", "mountPath": "/x"}]},
                {"name": "b", "image": "x", "ports": [{"containerPort": 0, "name": "p"}, {"containerPort": 1, "name": "p"}],
                 "env": [{"name": "a=b"}], "livenessProbe": {},
                 "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1", "memory": "x"}}},
            ],
        }});
        let mut errors = Vec::new();
        validate(&pod, None, &mut errors);
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        for field in [
            "spec.volumes[1].name",
            "spec.containers[0].name",
            "spec.containers[1].image",
            "spec.containers[1].volumeMounts[0].name",
            "spec.containers[2].name",
            "spec.containers[2].ports[0].containerPort",
            "spec.containers[2].ports[1].name",
            "spec.containers[2].env[0].name",
            "spec.containers[2].livenessProbe",
            "spec.containers[2].resources.limits[memory]",
            "spec.containers[2].resources.requests",
            "spec.restartPolicy",
        ] {
            assert!(fields.contains(&field), "{field} not in {fields:?}");
        }
    }

    #[test]
    fn ports_of_probes_and_paths_below_volumes_are_checked() {
        let errors_of = |field: &str, value: &Value| {
            let mut pod = pod();
            pod["spec"]["containers"][0][field] = value.clone();
            prepare(&mut pod, None);
            let mut errors = Vec::new();
            validate(&pod, None, &mut errors);
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            errors.join("\n")
        };
        let mount =
            |path: &str, below: &str| json!([{"name": "v", "mountPath": path, "subPath": below}]);
        for (field, value, part) in [
            (
                "livenessProbe",
                json!({"httpGet": {"port": 0}}),
                "livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            (
                "readinessProbe",
                json!({"tcpSocket": {"port": 65536}}),
                "readinessProbe.tcpSocket.port: Invalid value: 65536",
            ),
            (
                "startupProbe",
                json!({"grpc": {"port": -1}}),
                "startupProbe.grpc.port: Invalid value: -1",
            ),
            (
                "lifecycle",
                json!({"preStop": {"httpGet": {"port": "8080"}}}),
                "must contain at least one letter (a-z)",
            ),
            ("volumeMounts", mount("/a", "/b"), "must be a relative path"),
            (
                "volumeMounts",
                mount("/a", "b/../c"),
                "must not contain '..'",
            ),
        ] {
            let errors = errors_of(field, &value);
            assert!(errors.contains(part), "{errors:?} has no {part:?}");
        }
        for (field, value) in [
            ("livenessProbe", json!({"httpGet": {"port": "http"}})),
            // What only a node can say no to.
            ("volumeMounts", mount("/a:/../b", "b..c/.d")),
        ] {
            assert_eq!(errors_of(field, &value), "");
        }
    }

    #[test]
    fn only_the_image_of_a_running_pod_may_change() {
        let mut old = pod();
        prepare(&mut old, None);
        let mut new = old.clone();
        new["spec"]["containers"][0]["image"] = json!("x:2");
        let mut errors = Vec::new();
        validate(&new, Some(&old), &mut errors);
        assert_eq!(errors, []);
        new["spec"]["containers"][0]["command"] = json!(["x"]);
        validate(&new, Some(&old), &mut errors);
        assert_eq!(errors.len(), 1);
        assert!(
            errors[0]
                .to_string()
                .starts_with("spec: Forbidden: pod updates may not")
        );
    }
}
