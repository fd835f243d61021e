//! Pods and the templates of pods.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};
use serde_json::{Value, json};

use super::{
    container::{self, quantity},
    default,
    rule::{not_negative, one_of},
    volume,
};
use crate::{names, resource::Hooks, schema::quantity::Quantity, status::FieldError, typed};

pub(crate) const HOOKS: Hooks = Hooks {
    check: typed::check::<Pod>,
    prepare,
    validate,
    ..Hooks::BUILTIN
};

const IMMUTABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

fn prepare(pod: &mut Value, old: Option<&Value>) {
    default(pod, "spec", json!({}));
    if old.is_some_and(|old| old["spec"] == pod["spec"]) {
        return;
    }
    typed::change(&mut pod["spec"], |spec: &mut PodSpec| {
        spec_defaults(spec);
        spec.enable_service_links.get_or_insert(true);
        containers_mut(spec).for_each(requests_from_limits);
        if old.is_none() {
            let account = spec
                .service_account_name
                .get_or_insert_with(|| "default".to_owned())
                .clone();
            spec.service_account.get_or_insert(account);
            spec.priority.get_or_insert(0);
            spec.preemption_policy
                .get_or_insert_with(|| "PreemptLowerPriority".to_owned());
        }
    });
    if old.is_none() {
        let spec = typed::read(&pod["spec"]).unwrap_or_default();
        pod["status"] = json!(PodStatus {
            phase: Some("Pending".to_owned()),
            qos_class: Some(quality(&spec).to_owned()),
            ..PodStatus::default()
        });
    }
}

/// Fills in the defaults of a pod's spec, be it of a pod or of a template.
pub(super) fn spec_defaults(spec: &mut PodSpec) {
    for (field, value) in [
        (&mut spec.restart_policy, "Always"),
        (&mut spec.dns_policy, "ClusterFirst"),
        (&mut spec.scheduler_name, "default-scheduler"),
    ] {
        field.get_or_insert_with(|| value.to_owned());
    }
    spec.termination_grace_period_seconds.get_or_insert(30);
    spec.security_context.get_or_insert_default();
    volume::prepare(spec);
    containers_mut(spec).for_each(container::prepare);
}

/// The containers of a pod, those that run first among them.
pub(super) fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let init = spec.init_containers.iter().flatten();
    spec.containers.iter().chain(init)
}

fn containers_mut(spec: &mut PodSpec) -> impl Iterator<Item = &mut Container> {
    let init = spec.init_containers.iter_mut().flatten();
    spec.containers.iter_mut().chain(init)
}

/// A limit without a request is also the request.
fn requests_from_limits(container: &mut Container) {
    let Some(resources) = &mut container.resources else {
        return;
    };
    for (name, amount) in resources.limits.iter().flatten() {
        let requests = resources.requests.get_or_insert_default();
        requests.entry(name.clone()).or_insert(amount.clone());
    }
}

/// The class that decides who has to go first when a machine runs out of something.
fn quality(spec: &PodSpec) -> &'static str {
    let mut any = false;
    let mut all_equal = true;
    for container in containers(spec) {
        let resources = container.resources.clone().unwrap_or_default();
        for name in ["cpu", "memory"] {
            let amount = |amounts: &Option<container::Amounts>| {
                let amount = amounts.as_ref().and_then(|all| all.get(name));
                amount
                    .and_then(quantity)
                    .filter(|amount| *amount != Quantity::ZERO)
            };
            let (limit, request) = (amount(&resources.limits), amount(&resources.requests));
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
    let old = old.map(|old| &old["spec"]);
    typed::rules(&pod["spec"], old, errors, |spec: &PodSpec, old, errors| {
        spec_rules(spec, "spec", errors);
        if old.is_some_and(|old| comparable(old) != comparable(spec)) {
            errors.push(FieldError::forbidden("spec", IMMUTABLE));
        }
    });
}

/// The spec without what may be changed.
fn comparable(spec: &PodSpec) -> PodSpec {
    let mut spec = PodSpec {
        active_deadline_seconds: None,
        tolerations: None,
        termination_grace_period_seconds: None,
        ephemeral_containers: None,
        scheduling_gates: None,
        ..spec.clone()
    };
    containers_mut(&mut spec).for_each(|container| container.image = None);
    spec
}

/// Rules for a pod's spec, be it of a pod or of a template.
pub(super) fn spec_rules(spec: &PodSpec, path: &str, errors: &mut Vec<FieldError>) {
    let volumes = volume::validate(spec, path, errors);
    if spec.containers.is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let mut names = HashSet::new();
    let init = spec.init_containers.as_deref().unwrap_or_default();
    for (field, list) in [
        ("initContainers", init),
        ("containers", spec.containers.as_slice()),
    ] {
        let path = format!("{path}.{field}");
        container::validate(spec, list, &path, &volumes, &mut names, errors);
    }
    one_of(
        spec.restart_policy.as_deref(),
        &format!("{path}.restartPolicy"),
        &["Always", "OnFailure", "Never"],
        errors,
    );
    one_of(
        spec.dns_policy.as_deref(),
        &format!("{path}.dnsPolicy"),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        errors,
    );
    not_negative(
        spec.termination_grace_period_seconds,
        &format!("{path}.terminationGracePeriodSeconds"),
        errors,
    );
    let account = spec.service_account_name.as_deref().unwrap_or_default();
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
            let mut container = Container {
                image: Some(image.to_owned()),
                ..Container::default()
            };
            container::prepare(&mut container);
            let given = container.image_pull_policy.as_deref();
            assert_eq!(given, Some(policy), "{image}");
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
