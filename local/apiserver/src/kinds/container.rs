//! Containers: what is filled in and what is insisted on.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{default, fields, inner, items, items_mut, text};
use crate::{names, schema::quantity::Quantity, status::FieldError};

/// Fills in the defaults of a container.
pub(super) fn prepare(container: &mut Value) {
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    default(container, "resources", json!({}));
    let image = text(container, "image");
    let latest = !image.contains('@')
        && image
            .rsplit('/')
            .next()
            .is_none_or(|name| name.split_once(':').is_none_or(|(_, tag)| tag == "latest"));
    default(
        container,
        "imagePullPolicy",
        if latest { "Always" } else { "IfNotPresent" },
    );
    for port in items_mut(container, "ports") {
        default(port, "protocol", "TCP");
    }
    for env in items_mut(container, "env") {
        if let Some(reference) = inner(env, "valueFrom").and_then(|from| inner(from, "fieldRef")) {
            default(reference, "apiVersion", "v1");
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = inner(container, name) {
            default(probe, "timeoutSeconds", 1);
            default(probe, "periodSeconds", 10);
            default(probe, "successThreshold", 1);
            default(probe, "failureThreshold", 3);
            handler(probe);
        }
    }
    for name in ["postStart", "preStop"] {
        if let Some(hook) = inner(container, "lifecycle").and_then(|all| inner(all, name)) {
            handler(hook);
        }
    }
    if let Some(resources) = inner(container, "resources") {
        for kind in ["limits", "requests"] {
            canonical(resources.get_mut(kind));
        }
    }
}

/// Writes quantities in canonical form.
pub(super) fn canonical(amounts: Option<&mut Value>) {
    for amount in amounts
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(|amounts| amounts.values_mut())
    {
        if let Some(quantity) = quantity(amount) {
            *amount = quantity.to_string().into();
        }
    }
}

/// A quantity, which may be written as a number.
pub(super) fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text),
        Value::Number(number) => Quantity::parse(&number.to_string()),
        _ => None,
    }
}

fn handler(handler: &mut Value) {
    if let Some(get) = inner(handler, "httpGet") {
        default(get, "path", "/");
        default(get, "scheme", "HTTP");
    }
    if let Some(grpc) = inner(handler, "grpc") {
        default(grpc, "service", "");
    }
}

/// Rules for the containers in the list `field` of a pod's spec.
pub(super) fn validate(
    spec: &Value,
    field: &str,
    path: &str,
    volumes: &HashSet<&str>,
    names: &mut HashSet<String>,
    errors: &mut Vec<FieldError>,
) {
    for (index, container) in items(spec, field) {
        let path = format!("{path}.{field}[{index}]");
        let name = text(container, "name");
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if let Some(why) = names::label(name) {
            errors.push(FieldError::invalid(
                format!("{path}.name"),
                &json!(name),
                why,
            ));
        } else if !names.insert(name.to_owned()) {
            errors.push(FieldError::duplicate(format!("{path}.name"), &json!(name)));
        }
        if text(container, "image").is_empty() {
            errors.push(FieldError::required(format!("{path}.image"), ""));
        }
        one_of(
            container,
            "imagePullPolicy",
            &path,
            &["Always", "IfNotPresent", "Never"],
            errors,
        );
        ports(container, &path, errors);
        env(container, &path, errors);
        mounts(container, &path, volumes, errors);
        resources(container, &path, errors);
        for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
            if container[name].is_object() {
                probe(&container[name], &format!("{path}.{name}"), errors);
            }
        }
        for name in ["postStart", "preStop"] {
            let hook = &container["lifecycle"][name];
            if hook.is_object() {
                let path = format!("{path}.lifecycle.{name}");
                one_handler(hook, &path, errors);
                sleep(&hook["sleep"], spec, &path, errors);
            }
        }
    }
}

pub(super) fn one_of(
    object: &Value,
    field: &str,
    path: &str,
    choices: &[&str],
    errors: &mut Vec<FieldError>,
) {
    if let Some(value) = object[field].as_str()
        && !choices.contains(&value)
    {
        let supported: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
        errors.push(FieldError::not_supported(
            format!("{path}.{field}"),
            &object[field],
            &supported,
        ));
    }
}

fn ports(container: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let mut names = HashSet::new();
    for (index, port) in items(container, "ports") {
        let path = format!("{path}.ports[{index}]");
        port_number(
            &port["containerPort"],
            &format!("{path}.containerPort"),
            errors,
        );
        if !port["hostPort"].is_null() && port["hostPort"] != 0 {
            port_number(&port["hostPort"], &format!("{path}.hostPort"), errors);
        }
        one_of(port, "protocol", &path, &["SCTP", "TCP", "UDP"], errors);
        if let Some(name) = port["name"].as_str().filter(|name| !name.is_empty()) {
            if let Some(why) = port_name(name) {
                errors.push(FieldError::invalid(
                    format!("{path}.name"),
                    &json!(name),
                    why,
                ));
            } else if !names.insert(name) {
                errors.push(FieldError::duplicate(format!("{path}.name"), &json!(name)));
            }
        }
    }
}

/// A port number has to be one.
pub(super) fn port_number(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match value.as_i64() {
        None => errors.push(FieldError::required(path, "")),
        Some(1..=65535) => {}
        Some(_) => errors.push(FieldError::invalid(
            path,
            value,
            "must be between 1 and 65535, inclusive",
        )),
    }
}

fn port_name(name: &str) -> Option<&'static str> {
    if name.len() > 15 {
        return Some("must be no more than 15 characters");
    }
    if !name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        return Some("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !name.bytes().any(|b| b.is_ascii_lowercase()) {
        return Some("must contain at least one letter (a-z)");
    }
    if name.contains("--") {
        return Some("must not contain consecutive hyphens");
    }
    (name.starts_with('-') || name.ends_with('-')).then_some("must not begin or end with a hyphen")
}

fn env(container: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, env) in items(container, "env") {
        let path = format!("{path}.env[{index}]");
        match text(env, "name") {
            "" => errors.push(FieldError::required(format!("{path}.name"), "")),
            name if name.contains('=') || !name.bytes().all(|b| (0x20..0x7f).contains(&b)) => {
                errors.push(FieldError::invalid(
                    format!("{path}.name"),
                    &json!(name),
                    "a valid environment variable name must consist only of printable ASCII characters other than '='",
                ));
            }
            _ => {}
        }
        let from = &env["valueFrom"];
        if from.is_object() {
            let path = format!("{path}.valueFrom");
            if !text(env, "value").is_empty() {
                errors.push(FieldError::invalid(
                    &path,
                    &json!(""),
                    "may not be specified when `value` is not empty",
                ));
            }
            match fields(from).count() {
                0 => errors.push(FieldError::invalid(
                    path,
                    &json!(""),
                    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
                )),
                1 => {}
                _ => errors.push(FieldError::invalid(
                    path,
                    &json!(""),
                    "may not have more than one field specified at a time",
                )),
            }
        }
    }
}

fn mounts(container: &Value, path: &str, volumes: &HashSet<&str>, errors: &mut Vec<FieldError>) {
    let mut paths = HashSet::new();
    let list = format!("{path}.volumeMounts");
    for (index, mount) in items(container, "volumeMounts") {
        let path = format!("{list}[{index}]");
        match text(mount, "name") {
            "" => errors.push(FieldError::required(format!("{path}.name"), "")),
            name if !volumes.contains(name) => {
                errors.push(FieldError::not_found(format!("{path}.name"), &json!(name)));
            }
            _ => {}
        }
        match text(mount, "mountPath") {
            "" => errors.push(FieldError::required(format!("{path}.mountPath"), "")),
            at if !paths.insert(at) => errors.push(FieldError::invalid(
                format!("{path}.mountPath"),
                &json!(at),
                "must be unique",
            )),
            _ => {}
        }
        for field in ["subPath", "subPathExpr"] {
            if let Some(why) = leaves_volume(text(mount, field)) {
                let field_path = format!("{list}.{field}");
                errors.push(FieldError::invalid(field_path, &mount[field], why));
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

fn resources(container: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let resources = &container["resources"];
    for kind in ["limits", "requests"] {
        for (name, amount) in fields(&resources[kind]) {
            let field = format!("{path}.resources.{kind}[{name}]");
            match quantity(amount) {
                None => errors.push(FieldError::invalid(
                    field,
                    amount,
                    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                )),
                Some(amount_) if Quantity::ZERO.exceeds(amount_) => errors.push(
                    FieldError::invalid(field, amount, "must be greater than or equal to 0"),
                ),
                Some(_) => {}
            }
        }
    }
    for (name, request) in fields(&resources["requests"]) {
        let limit = &resources["limits"][name.as_str()];
        if let (Some(asked), Some(most)) = (quantity(request), quantity(limit))
            && asked.exceeds(most)
        {
            errors.push(FieldError::invalid(
                format!("{path}.resources.requests"),
                request,
                format!("must be less than or equal to {name} limit of {most}"),
            ));
        }
    }
}

fn probe(probe: &Value, path: &str, errors: &mut Vec<FieldError>) {
    one_handler(probe, path, errors);
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        if probe[field].as_i64().is_some_and(|seconds| seconds < 0) {
            errors.push(FieldError::invalid(
                format!("{path}.{field}"),
                &probe[field],
                "must be greater than or equal to 0",
            ));
        }
    }
}

/// A hook may sleep for as long as the pod has to end, and no longer.
fn sleep(action: &Value, spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let (seconds, grace) = (&action["seconds"], &spec["terminationGracePeriodSeconds"]);
    if let (Some(asked), Some(most)) = (seconds.as_i64(), grace.as_i64())
        && !(0..=most).contains(&asked)
    {
        errors.push(FieldError::invalid(
            format!("{path}.sleep"),
            seconds,
            format!("must be non-negative and less than terminationGracePeriodSeconds ({most})"),
        ));
    }
}

fn one_handler(handler: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for kind in ["httpGet", "tcpSocket", "grpc"] {
        let port = &handler[kind]["port"];
        let path = format!("{path}.{kind}.port");
        match port {
            Value::Null => {}
            Value::String(name) if kind != "grpc" => {
                if let Some(why) = port_name(name) {
                    errors.push(FieldError::invalid(path, port, why));
                }
            }
            _ => port_number(port, &path, errors),
        }
    }
    let given = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"]
        .into_iter()
        .filter(|kind| handler[kind].is_object())
        .count();
    match given {
        0 => errors.push(FieldError::required(path, "must specify a handler type")),
        1 => {}
        _ => errors.push(FieldError::forbidden(
            path,
            "may not specify more than 1 handler type",
        )),
    }
}
