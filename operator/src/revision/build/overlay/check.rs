//! What a partial pod template may not say.

use fermata_crds::{Template, names};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use serde_json::Value;

use super::{OverlayError, merge::merge_key};

/// Reads a partial pod template that does no harm.
pub(super) fn check(given: &Value, template: &Template) -> Result<PodTemplateSpec, OverlayError> {
    let typed: PodTemplateSpec = serde_json::from_value(given.clone())
        .map_err(|error| OverlayError::Malformed(error.to_string()))?;
    let known = serde_json::to_value(&typed).unwrap_or_default();
    check_fields(given, &known, "")?;
    check_keys(given, "")?;
    check_pod(&typed, template)?;
    Ok(typed)
}

/// Every given field must be one that the typed value knows.
fn check_fields(given: &Value, known: &Value, path: &str) -> Result<(), OverlayError> {
    match (given, known) {
        (Value::Object(given), known) => given.iter().try_for_each(|(field, value)| {
            let path = if path.is_empty() {
                field.clone()
            } else {
                format!("{path}.{field}")
            };
            if value.is_null() {
                return Err(OverlayError::Null(path));
            }
            match known.get(field) {
                Some(known) => check_fields(value, known, &path),
                None => Err(OverlayError::UnknownField(path)),
            }
        }),
        (Value::Array(given), Value::Array(known)) => given
            .iter()
            .zip(known)
            .enumerate()
            .try_for_each(|(index, (given, known))| {
                check_fields(given, known, &format!("{path}[{index}]"))
            }),
        _ => Ok(()),
    }
}

fn check_keys(given: &Value, path: &str) -> Result<(), OverlayError> {
    match given {
        Value::Object(fields) => fields.iter().try_for_each(|(field, value)| {
            let path = if path.is_empty() {
                field.clone()
            } else {
                format!("{path}.{field}")
            };
            if let (Some(key), Value::Array(items)) = (merge_key(field), value)
                && items.iter().any(|item| item.get(key).is_none())
            {
                return Err(OverlayError::Unnamed { list: path, key });
            }
            check_keys(value, &path)
        }),
        Value::Array(items) => items.iter().try_for_each(|item| check_keys(item, path)),
        _ => Ok(()),
    }
}

fn check_metadata(overlay: &PodTemplateSpec) -> Result<(), OverlayError> {
    let Some(metadata) = &overlay.metadata else {
        return Ok(());
    };
    let reserved = |key: &&String| key.starts_with(names::RESERVED_PREFIX);
    let mut labels = metadata.labels.iter().flat_map(|labels| labels.keys());
    if let Some(label) = labels.find(|key| reserved(key) || *key == names::MANAGED_BY_LABEL) {
        return Err(OverlayError::Label(label.clone()));
    }
    let annotations = metadata.annotations.iter();
    let mut annotations = annotations.flat_map(|annotations| annotations.keys());
    match annotations.find(|key| reserved(key) || *key == names::DELETION_COST_ANNOTATION) {
        Some(annotation) => Err(OverlayError::Annotation(annotation.clone())),
        None => Ok(()),
    }
}

/// Fields that would bring a pod past somebody who has a say: the scheduler, who may use an account, the
/// check of the security profile.
fn check_refused(spec: &PodSpec) -> Result<(), OverlayError> {
    let os = spec.os.as_ref().map(|os| os.name.as_str());
    let given = [
        (
            spec.node_name.is_some(),
            "spec.nodeName",
            "it would go past the scheduler; use nodeSelector, such as kubernetes.io/hostname, or affinity",
        ),
        (
            spec.service_account.is_some(),
            "spec.serviceAccount",
            "Kubernetes has given it up; use serviceAccountName",
        ),
        (
            os.is_some_and(|os| os != "linux"),
            "spec.os",
            "functions run on Linux; leave it out",
        ),
        (
            spec.ephemeral_containers.is_some(),
            "spec.ephemeralContainers",
            "they are added to pods that run; use containers, or kubectl debug",
        ),
        (
            spec.active_deadline_seconds.is_some(),
            "spec.activeDeadlineSeconds",
            "a function runs until it is stopped; bound its requests with timeouts.request",
        ),
    ];
    match given.into_iter().find(|(is_given, ..)| *is_given) {
        Some((_, field, why)) => Err(OverlayError::Field { field, why }),
        None => Ok(()),
    }
}

fn check_pod(overlay: &PodTemplateSpec, template: &Template) -> Result<(), OverlayError> {
    check_metadata(overlay)?;
    let Some(spec) = &overlay.spec else {
        return Ok(());
    };
    if let Some(policy) = &spec.restart_policy
        && policy != "Always"
    {
        return Err(OverlayError::RestartPolicy(policy.clone()));
    }
    check_refused(spec)?;
    let mut volumes = spec.volumes.iter().flatten();
    if template.source.is_some() && volumes.any(|volume| volume.name == names::SOURCE_VOLUME) {
        return Err(OverlayError::Source);
    }
    spec.containers
        .iter()
        .filter(|container| container.name == names::CONTAINER)
        .try_for_each(|container| check_container(container, template))
}

fn check_container(container: &Container, template: &Template) -> Result<(), OverlayError> {
    let mut env = container.env.iter().flatten();
    let reserved = |name: &str| {
        names::RESERVED_ENV.contains(&name) || name.starts_with(names::RESERVED_ENV_PREFIX)
    };
    if let Some(variable) = env.find(|variable| reserved(&variable.name)) {
        return Err(OverlayError::Env(variable.name.clone()));
    }
    let port = i32::from(template.port());
    let mut ports = container.ports.iter().flatten();
    if ports.any(|given| {
        let tcp = given
            .protocol
            .as_deref()
            .is_none_or(|protocol| protocol == "TCP");
        let own = given.container_port == port && tcp;
        let named = given.name.as_deref();
        if own {
            named.is_some_and(|name| name != names::PORT_NAME)
        } else {
            named == Some(names::PORT_NAME)
        }
    }) {
        return Err(OverlayError::Port);
    }
    let mut mounts = container.volume_mounts.iter().flatten();
    let is_source = |path: &str| path.trim_end_matches('/') == names::SOURCE_PATH;
    if template.source.is_some() && mounts.any(|mount| is_source(&mount.mount_path)) {
        return Err(OverlayError::Source);
    }
    Ok(())
}
