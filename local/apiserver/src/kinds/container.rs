//! Containers: what is filled in and what is insisted on.

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::{
    api::core::v1::{Container, EnvVar, EnvVarSource, HTTPGetAction, PodSpec},
    apimachinery::pkg::api::resource::Quantity as Amount,
};
use serde_json::json;

use super::{
    action,
    rule::{label, one_of, port_name, port_number},
};
use crate::{schema::quantity::Quantity, status::FieldError};

/// Amounts of resources, by their names.
pub(super) type Amounts = BTreeMap<String, Amount>;

/// Fills in the defaults of a container.
pub(super) fn prepare(container: &mut Container) {
    let text = |field: &mut Option<String>, value: &str| {
        field.get_or_insert_with(|| value.to_owned());
    };
    text(
        &mut container.termination_message_path,
        "/dev/termination-log",
    );
    text(&mut container.termination_message_policy, "File");
    let image = container.image.as_deref().unwrap_or_default();
    let policy = if is_latest(image) {
        "Always"
    } else {
        "IfNotPresent"
    };
    text(&mut container.image_pull_policy, policy);
    for port in container.ports.iter_mut().flatten() {
        text(&mut port.protocol, "TCP");
    }
    for env in container.env.iter_mut().flatten() {
        let from = env.value_from.as_mut();
        if let Some(reference) = from.and_then(|from| from.field_ref.as_mut()) {
            text(&mut reference.api_version, "v1");
        }
    }
    let probes = [
        &mut container.liveness_probe,
        &mut container.readiness_probe,
        &mut container.startup_probe,
    ];
    for probe in probes.into_iter().flatten() {
        probe.timeout_seconds.get_or_insert(1);
        probe.period_seconds.get_or_insert(10);
        probe.success_threshold.get_or_insert(1);
        probe.failure_threshold.get_or_insert(3);
        prepare_http(probe.http_get.as_mut());
        if let Some(grpc) = &mut probe.grpc {
            text(&mut grpc.service, "");
        }
    }
    if let Some(hooks) = &mut container.lifecycle {
        for hook in [&mut hooks.post_start, &mut hooks.pre_stop] {
            prepare_http(hook.as_mut().and_then(|hook| hook.http_get.as_mut()));
        }
    }
    let resources = container.resources.get_or_insert_default();
    canonical(resources.limits.as_mut());
    canonical(resources.requests.as_mut());
}

/// Whether an image is named without a version, so that it may be another one each time.
fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    let tag = name.split_once(':').map(|(_, tag)| tag);
    !image.contains('@') && tag.is_none_or(|tag| tag == "latest")
}

fn prepare_http(get: Option<&mut HTTPGetAction>) {
    if let Some(get) = get {
        get.path.get_or_insert_with(|| "/".to_owned());
        get.scheme.get_or_insert_with(|| "HTTP".to_owned());
    }
}

/// Writes quantities in canonical form.
pub(super) fn canonical(amounts: Option<&mut Amounts>) {
    for amount in amounts.into_iter().flat_map(BTreeMap::values_mut) {
        if let Some(quantity) = quantity(amount) {
            amount.0 = quantity.to_string();
        }
    }
}

/// An amount as a number; `None` when it is none.
pub(super) fn quantity(amount: &Amount) -> Option<Quantity> {
    Quantity::parse(&amount.0)
}

/// Rules for the containers of a pod's spec in one of its lists, which stands at `path`.
pub(super) fn validate<'a>(
    spec: &PodSpec,
    containers: impl IntoIterator<Item = &'a Container>,
    path: &str,
    volumes: &HashSet<&str>,
    names: &mut HashSet<&'a str>,
    errors: &mut Vec<FieldError>,
) {
    for (index, container) in containers.into_iter().enumerate() {
        let path = format!("{path}[{index}]");
        label(&container.name, &format!("{path}.name"), names, errors);
        if container.image.as_deref().is_none_or(str::is_empty) {
            errors.push(FieldError::required(format!("{path}.image"), ""));
        }
        one_of(
            container.image_pull_policy.as_deref(),
            &format!("{path}.imagePullPolicy"),
            &["Always", "IfNotPresent", "Never"],
            errors,
        );
        ports(container, &path, errors);
        for (index, variable) in container.env.iter().flatten().enumerate() {
            env(variable, &format!("{path}.env[{index}]"), errors);
        }
        mounts(container, &path, volumes, errors);
        resources(container, &path, errors);
        for (field, given) in [
            ("livenessProbe", &container.liveness_probe),
            ("readinessProbe", &container.readiness_probe),
            ("startupProbe", &container.startup_probe),
        ] {
            if let Some(given) = given {
                action::probe(given, &format!("{path}.{field}"), errors);
            }
        }
        if let Some(hooks) = &container.lifecycle {
            action::hooks(hooks, spec, &format!("{path}.lifecycle"), errors);
        }
    }
}

fn ports(container: &Container, path: &str, errors: &mut Vec<FieldError>) {
    let mut names = HashSet::new();
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let path = format!("{path}.ports[{index}]");
        port_number(
            port.container_port,
            &format!("{path}.containerPort"),
            errors,
        );
        if let Some(number) = port.host_port.filter(|number| *number != 0) {
            port_number(number, &format!("{path}.hostPort"), errors);
        }
        one_of(
            port.protocol.as_deref(),
            &format!("{path}.protocol"),
            &["SCTP", "TCP", "UDP"],
            errors,
        );
        let name = port.name.as_deref().unwrap_or_default();
        if name.is_empty() {
            continue;
        }
        let path = format!("{path}.name");
        if let Some(why) = port_name(name) {
            errors.push(FieldError::invalid(path, &json!(name), why));
        } else if !names.insert(name) {
            errors.push(FieldError::duplicate(path, &json!(name)));
        }
    }
}

fn env(variable: &EnvVar, path: &str, errors: &mut Vec<FieldError>) {
    let name = variable.name.as_str();
    if name.is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    } else if name.contains('=') || !name.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        errors.push(FieldError::invalid(
            format!("{path}.name"),
            &json!(name),
            "a valid environment variable name must consist only of printable ASCII characters other than '='",
        ));
    }
    let Some(from) = &variable.value_from else {
        return;
    };
    let path = format!("{path}.valueFrom");
    if variable
        .value
        .as_deref()
        .is_some_and(|text| !text.is_empty())
    {
        errors.push(FieldError::invalid(
            &path,
            &json!(""),
            "may not be specified when `value` is not empty",
        ));
    }
    let why = match sources(from) {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        }
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.push(FieldError::invalid(path, &json!(""), why));
}

/// How many places a value is said to come from.
fn sources(from: &EnvVarSource) -> usize {
    let EnvVarSource {
        config_map_key_ref,
        field_ref,
        file_key_ref,
        resource_field_ref,
        secret_key_ref,
    } = from;
    [
        config_map_key_ref.is_some(),
        field_ref.is_some(),
        file_key_ref.is_some(),
        resource_field_ref.is_some(),
        secret_key_ref.is_some(),
    ]
    .into_iter()
    .filter(|given| *given)
    .count()
}

fn mounts(
    container: &Container,
    path: &str,
    volumes: &HashSet<&str>,
    errors: &mut Vec<FieldError>,
) {
    let mut paths = HashSet::new();
    let list = format!("{path}.volumeMounts");
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = format!("{list}[{index}]");
        match mount.name.as_str() {
            "" => errors.push(FieldError::required(format!("{path}.name"), "")),
            name if !volumes.contains(name) => {
                errors.push(FieldError::not_found(format!("{path}.name"), &json!(name)));
            }
            _ => {}
        }
        match mount.mount_path.as_str() {
            "" => errors.push(FieldError::required(format!("{path}.mountPath"), "")),
            at if !paths.insert(at) => errors.push(FieldError::invalid(
                format!("{path}.mountPath"),
                &json!(at),
                "must be unique",
            )),
            _ => {}
        }
        for (field, below) in [
            ("subPath", &mount.sub_path),
            ("subPathExpr", &mount.sub_path_expr),
        ] {
            let below = below.as_deref().unwrap_or_default();
            if let Some(why) = leaves_volume(below) {
                let path = format!("{list}.{field}");
                errors.push(FieldError::invalid(path, &json!(below), why));
            }
        }
    }
}

/// Why a path does not stay below a volume, if it does not. Where the volume is mounted may have any
/// path.
fn leaves_volume(path: &str) -> Option<&'static str> {
    if path.starts_with('/') {
        return Some("must be a relative path");
    }
    path.split('/')
        .any(|part| part == "..")
        .then_some("must not contain '..'")
}

fn resources(container: &Container, path: &str, errors: &mut Vec<FieldError>) {
    let Some(resources) = &container.resources else {
        return;
    };
    let path = format!("{path}.resources");
    for (kind, amounts) in [
        ("limits", &resources.limits),
        ("requests", &resources.requests),
    ] {
        for (name, amount) in amounts.iter().flatten() {
            let why = match quantity(amount) {
                None => {
                    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                }
                Some(amount) if Quantity::ZERO.exceeds(amount) => {
                    "must be greater than or equal to 0"
                }
                Some(_) => continue,
            };
            let path = format!("{path}.{kind}[{name}]");
            errors.push(FieldError::invalid(path, &json!(amount), why));
        }
    }
    for (name, request) in resources.requests.iter().flatten() {
        let limit = resources.limits.as_ref().and_then(|all| all.get(name));
        if let (Some(asked), Some(most)) = (quantity(request), limit.and_then(quantity))
            && asked.exceeds(most)
        {
            errors.push(FieldError::invalid(
                format!("{path}.requests"),
                &json!(request),
                format!("must be less than or equal to {name} limit of {most}"),
            ));
        }
    }
}
