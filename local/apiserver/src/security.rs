//! Pod Security Admission: what the labels of a namespace let its pods do
//! (<https://kubernetes.io/docs/concepts/security/pod-security-admission/>).

use fermata_crds::pod_security::{Level, violations};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::{Pod, PodSpec, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::Value;

use crate::{
    resource::Resource,
    status::{Failure, FieldError},
    store::{Key, State},
    typed,
};

/// The prefix of the labels.
const PREFIX: &str = "pod-security.kubernetes.io/";

/// A standard as a namespace asks for it.
struct Policy {
    level: Level,
    /// `latest` or `v1.x`. Named in messages only: the checks are always those of the latest version.
    version: String,
}

// === impl Policy ===

impl Policy {
    /// What a namespace asks for in a mode (`enforce` or `warn`).
    fn of(namespace: &Value, mode: &str) -> Option<Self> {
        let labels = &namespace["metadata"]["labels"];
        let label = |name: &str| labels[format!("{PREFIX}{name}")].as_str();
        Some(Self {
            level: Level::parse(label(mode)?)?,
            version: label(&format!("{mode}-version"))
                .unwrap_or("latest")
                .to_owned(),
        })
    }

    /// How a pod breaks the standard, in one sentence.
    fn broken_by(&self, metadata: &ObjectMeta, spec: &PodSpec) -> Option<String> {
        let violations = violations(self.level, metadata, spec);
        if violations.is_empty() {
            return None;
        }
        let all: Vec<String> = violations.iter().map(ToString::to_string).collect();
        Some(format!(
            "PodSecurity \"{}:{}\": {}",
            self.level.name(),
            self.version,
            all.join(", ")
        ))
    }
}

/// Refuses a new pod that breaks the standard that its namespace enforces.
pub(crate) fn enforce(state: &State, resource: &Resource, pod: &Value) -> Result<(), Failure> {
    if !resource.is("", "pods") {
        return Ok(());
    }
    let Some(policy) = policy(state, pod, "enforce") else {
        return Ok(());
    };
    let pod: Pod = typed::read(pod).map_err(Failure::internal)?;
    match policy.broken_by(&pod.metadata, &pod.spec.unwrap_or_default()) {
        None => Ok(()),
        Some(how) => {
            let name = pod.metadata.name.unwrap_or_default();
            Err(resource.forbidden(&name, format!("violates {how}")))
        }
    }
}

/// What to warn of when a pod, or an object with a template of pods, is written.
pub(crate) fn warning(state: &State, resource: &Resource, object: &Value) -> Option<String> {
    let read_template = match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => of_pod,
        ("apps", "deployments") => of_deployment,
        ("apps", "replicasets") => of_replica_set,
        _ => return None,
    };
    let warn = policy(state, object, "warn").or_else(|| policy(state, object, "enforce"))?;
    let template = read_template(object)?;
    let broken = warn.broken_by(
        &template.metadata.unwrap_or_default(),
        &template.spec.unwrap_or_default(),
    );
    Some(format!("would violate {}", broken?))
}

fn of_pod(object: &Value) -> Option<PodTemplateSpec> {
    let pod: Pod = typed::read(object).ok()?;
    Some(PodTemplateSpec {
        metadata: Some(pod.metadata),
        spec: pod.spec,
    })
}

fn of_deployment(object: &Value) -> Option<PodTemplateSpec> {
    let deployment: Deployment = typed::read(object).ok()?;
    Some(deployment.spec?.template)
}

fn of_replica_set(object: &Value) -> Option<PodTemplateSpec> {
    let set: ReplicaSet = typed::read(object).ok()?;
    set.spec?.template
}

fn policy(state: &State, object: &Value, mode: &str) -> Option<Policy> {
    let namespace = object["metadata"]["namespace"].as_str()?;
    let namespace = state.get("namespaces", &Key::new("", namespace))?;
    Policy::of(&namespace.value(), mode)
}

/// Rules for the labels of a namespace.
pub(crate) fn validate(namespace: &Value, errors: &mut Vec<FieldError>) {
    let labels = &namespace["metadata"]["labels"];
    for mode in ["enforce", "audit", "warn"] {
        let label = format!("{PREFIX}{mode}");
        let level = &labels[&label];
        if level
            .as_str()
            .is_some_and(|name| Level::parse(name).is_none())
        {
            errors.push(FieldError::invalid(
                format!("metadata.labels[{label}]"),
                level,
                "must be one of privileged, baseline, restricted",
            ));
        }
        let label = format!("{label}-version");
        let version = &labels[&label];
        if version.as_str().is_some_and(|version| !is_version(version)) {
            errors.push(FieldError::invalid(
                format!("metadata.labels[{label}]"),
                version,
                "must be \"latest\" or \"v1.x\"",
            ));
        }
    }
}

fn is_version(text: &str) -> bool {
    let minor = text.strip_prefix("v1.");
    text == "latest"
        || minor.is_some_and(|minor| {
            !minor.is_empty() && minor.chars().all(|digit| digit.is_ascii_digit())
        })
}
