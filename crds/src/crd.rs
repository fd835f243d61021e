//! The CustomResourceDefinitions as installed: the schemas of the Rust types, with the rules and
//! limits that Rust types cannot say.

mod numbers;
mod parts;
mod texts;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, ValidationRule,
};
use kube::CustomResourceExt as _;

use crate::{
    Function, Revision, Runtime,
    rules::{self, Rule},
    topic::MOST_FILTERS,
    trigger::MOST_TRIGGERS,
};

/// Lists whose items are told apart by a key: a duplicate is refused, and server-side apply merges
/// item by item.
const LIST_MAPS: &[(&str, &[&str])] = &[
    ("env", &["name"]),
    ("source.build.env", &["name"]),
    ("volumes", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("imagePullSecrets", &["name"]),
];

/// Bounds on free text and lists, which also keep the cost of the rules within what an API server
/// accepts: path, and the most characters, items or properties.
const BOUNDS: &[(&str, i64)] = &[
    ("image", 1024),
    ("imagePullPolicy", 32),
    ("source.runtime", 253),
    ("source.handler", 4096),
    ("source.files", 2000),
    ("source.binaryFiles", 2000),
    ("source.configMap.name", 253),
    ("source.git.url", 1024),
    ("source.git.ref", 255),
    ("source.git.path", 253),
    ("source.git.secretName", 253),
    ("source.git.poll", 32),
    ("source.git.webhook.secretName", 253),
    ("source.build.env", 128),
    ("source.build.env[].name", 256),
    ("source.build.env[].valueFrom.configMapKeyRef.name", 253),
    ("source.build.env[].valueFrom.secretKeyRef.name", 253),
    ("source.build.resources.limits", 12),
    ("source.build.resources.requests", 12),
    ("source.build.timeout", 32),
    ("command", 256),
    ("args", 256),
    ("env", 512),
    ("env[].name", 256),
    ("envFrom", 64),
    ("volumes", 64),
    ("volumes[].name", 63),
    ("volumeMounts", 128),
    ("volumeMounts[].mountPath", 1024),
    ("volumeMounts[].name", 63),
    ("volumes[].configMap.name", 253),
    ("volumes[].secret.secretName", 253),
    ("env[].valueFrom.configMapKeyRef.name", 253),
    ("env[].valueFrom.secretKeyRef.name", 253),
    ("envFrom[].configMapRef.name", 253),
    ("envFrom[].secretRef.name", 253),
    ("imagePullSecrets", 16),
    ("imagePullSecrets[].name", 253),
    ("serviceAccountName", 253),
    ("security.runtimeClassName", 253),
    ("resources.limits", 12),
    ("resources.requests", 12),
    ("timeouts.request", 32),
    ("timeouts.firstByte", 32),
    ("timeouts.idle", 32),
    ("timeouts.start", 32),
];

/// Ports that are numbers or names.
const PROBE_PORTS: [&str; 6] = [
    "readinessProbe.httpGet.port",
    "readinessProbe.tcpSocket.port",
    "livenessProbe.httpGet.port",
    "livenessProbe.tcpSocket.port",
    "startupProbe.httpGet.port",
    "startupProbe.tcpSocket.port",
];

/// The longest name of a port (RFC 6335, section 5.1).
const LONGEST_PORT_NAME: i64 = 15;

const SCALE_BOUNDS: &[(&str, i64)] = &[
    ("window", 32),
    ("idleAfter", 32),
    ("downDelay", 32),
    ("schedules", 32),
    ("schedules[].cron", 128),
    ("schedules[].timezone", 64),
    ("schedules[].duration", 32),
];

const FUNCTION_BOUNDS: &[(&str, i64)] = &[
    ("expose.hosts", 32),
    ("expose.hosts[]", 253),
    ("expose.path", 512),
    ("triggers", MOST_TRIGGERS),
    ("triggers[].name", 50),
    ("triggers[].schedule.cron", 128),
    ("triggers[].schedule.timezone", 64),
    ("triggers[].schedule.deadline", 32),
    ("triggers[].topic.name", 63),
    ("triggers[].topic.filter", MOST_FILTERS),
    ("triggers[].batch.wait", 32),
    ("triggers[].path", 1024),
    ("triggers[].body", 4096),
    ("output.topic", 63),
    ("delivery.backoff.first", 32),
    ("delivery.backoff.max", 32),
    ("delivery.maxAge", 32),
    ("delivery.deadLetter.topic", 63),
];

/// Every CustomResourceDefinition of Fermata, in the order to install them.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![function(), revision(), runtime()]
}

/// The definition of [`Function`].
#[must_use]
pub fn function() -> CustomResourceDefinition {
    let mut crd = Function::crd();
    with_schema(&mut crd, |root| {
        add_rules(root, rules::FUNCTION_ROOT);
        if let Some(spec) = at(root, "spec") {
            template(spec);
            add_rules(spec, rules::FUNCTION);
            add_bounds(spec, FUNCTION_BOUNDS);
            if let Some(hosts) = at(spec, "expose.hosts") {
                hosts.x_kubernetes_list_type = Some("set".into());
            }
            list_map(spec, "triggers", &["name"]);
            if let Some(scale_) = at(spec, "scale") {
                scale(scale_);
            }
        }
        status(root);
        list_map(root, "status.triggers", &["name"]);
    });
    crd
}

/// The definition of [`Revision`].
#[must_use]
pub fn revision() -> CustomResourceDefinition {
    let mut crd = Revision::crd();
    with_schema(&mut crd, |root| {
        if let Some(spec) = at(root, "spec") {
            add_rules(spec, rules::REVISION);
            if let Some(template_) = at(spec, "template") {
                template(template_);
            }
            if let Some(scale_) = at(spec, "scale") {
                scale(scale_);
            }
        }
        status(root);
    });
    crd
}

/// The definition of [`Runtime`].
#[must_use]
pub fn runtime() -> CustomResourceDefinition {
    let mut crd = Runtime::crd();
    with_schema(&mut crd, |root| {
        if let Some(spec) = at(root, "spec") {
            add_bounds(
                spec,
                &[
                    ("image", 1024),
                    ("command", 64),
                    ("env", 512),
                    ("env[].name", 256),
                    ("build.image", 1024),
                    ("build.command", 64),
                    ("build.inputs", 64),
                    ("build.inputs[]", 253),
                    ("build.target", 253),
                    ("build.env", 128),
                    ("build.env[].name", 256),
                ],
            );
            add_rules(spec, rules::RUNTIME);
            list_map(spec, "env", &["name"]);
            list_map(spec, "build.env", &["name"]);
        }
    });
    crd
}

fn with_schema(crd: &mut CustomResourceDefinition, change: impl Fn(&mut JSONSchemaProps)) {
    for version in &mut crd.spec.versions {
        if let Some(root) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        {
            change(root);
            numbers::bound_integers(root);
            texts::join_lines(root);
        }
    }
}

fn template(schema: &mut JSONSchemaProps) {
    add_bounds(schema, BOUNDS);
    add_rules(schema, rules::TEMPLATE);
    for path in PROBE_PORTS {
        if let Some(port) = at(schema, path) {
            (port.minimum, port.maximum) = (Some(1.0), Some(f64::from(u16::MAX)));
            (port.min_length, port.max_length) = (Some(1), Some(LONGEST_PORT_NAME));
        }
    }
    for (path, keys) in LIST_MAPS {
        list_map(schema, path, keys);
    }
    if let Some(overlay) = at(schema, "podTemplate") {
        overlay.additional_properties = None;
        overlay.x_kubernetes_preserve_unknown_fields = Some(true);
    }
}

fn scale(schema: &mut JSONSchemaProps) {
    add_bounds(schema, SCALE_BOUNDS);
    add_rules(schema, rules::SCALE);
}

fn status(root: &mut JSONSchemaProps) {
    list_map(root, "status.conditions", &["type"]);
    list_map(root, "status.traffic", &["revision"]);
}

fn list_map(schema: &mut JSONSchemaProps, path: &str, keys: &[&str]) {
    if let Some(list) = at(schema, path) {
        list.x_kubernetes_list_type = Some("map".into());
        list.x_kubernetes_list_map_keys = Some(keys.iter().map(|&key| key.to_owned()).collect());
    }
}

fn add_bounds(schema: &mut JSONSchemaProps, bounds: &[(&str, i64)]) {
    for (path, most) in bounds {
        let Some(place) = at(schema, path) else {
            continue;
        };
        match place.type_.as_deref() {
            Some("array") => place.max_items = Some(*most),
            Some("object") => place.max_properties = Some(*most),
            _ => place.max_length = Some(*most),
        }
    }
}

fn add_rules(schema: &mut JSONSchemaProps, rules: &[Rule]) {
    for Rule {
        path,
        rule,
        message,
    } in rules
    {
        let Some(place) = at(schema, path) else {
            continue;
        };
        place
            .x_kubernetes_validations
            .get_or_insert_default()
            .push(ValidationRule {
                rule: (*rule).to_owned(),
                message: Some((*message).to_owned()),
                ..ValidationRule::default()
            });
    }
}

/// The schema at a path such as `env[].name`; the empty path is the schema itself.
fn at<'a>(schema: &'a mut JSONSchemaProps, path: &str) -> Option<&'a mut JSONSchemaProps> {
    let mut place = schema;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let (name, items) = step
            .strip_suffix("[]")
            .map_or((step, false), |name| (name, true));
        place = place.properties.as_mut()?.get_mut(name)?;
        if items {
            place = match place.items.as_mut()? {
                JSONSchemaPropsOrArray::Schema(schema) => schema,
                JSONSchemaPropsOrArray::Schemas(_) => return None,
            };
        }
    }
    Some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule or bound whose path is misspelt would silently not be there.
    #[test]
    fn every_rule_and_bound_finds_its_place() {
        let crd = Function::crd();
        let mut root = crd.spec.versions[0]
            .schema
            .clone()
            .and_then(|schema| schema.open_api_v3_schema)
            .expect("schema");
        let paths = |rules: &[Rule], prefix: &str| -> Vec<String> {
            rules
                .iter()
                .map(|rule| format!("{prefix}.{}", rule.path))
                .collect()
        };
        let mut all = paths(rules::TEMPLATE, "spec");
        all.extend(paths(rules::SCALE, "spec.scale"));
        all.extend(paths(rules::FUNCTION, "spec"));
        all.extend(LIST_MAPS.iter().map(|(path, _)| format!("spec.{path}")));
        all.extend(
            BOUNDS
                .iter()
                .chain(FUNCTION_BOUNDS)
                .map(|(path, _)| format!("spec.{path}")),
        );
        all.extend(
            SCALE_BOUNDS
                .iter()
                .map(|(path, _)| format!("spec.scale.{path}")),
        );
        all.extend(PROBE_PORTS.iter().map(|path| format!("spec.{path}")));
        for path in all {
            assert!(at(&mut root, &path).is_some(), "no schema at {path}");
        }
    }

    /// The chart's policy for the gateway compares a Function's status field by field; a field that it
    /// does not name would be the gateway's to change.
    #[test]
    fn the_admission_policy_names_every_field_of_a_status_that_is_not_the_gateways() {
        let path = "../charts/fermata/templates/gateway/scale-guard.yaml";
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let policy = std::fs::read_to_string(path).expect("the policy");
        let mut crd = function();
        let schema = crd.spec.versions[0].schema.take();
        let mut root = schema.and_then(|schema| schema.open_api_v3_schema);
        let status = at(root.as_mut().expect("a schema"), "status").expect("a status");
        for field in status.properties.clone().expect("fields").keys() {
            let compared = format!("object.?status.?{field} == oldObject.?status.?{field}");
            assert_eq!(
                policy.contains(&compared),
                !["backlog", "lastColdStart", "triggers"].contains(&field.as_str()),
                "{field}"
            );
        }
    }
}
