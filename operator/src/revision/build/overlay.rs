//! The user's partial pod template, merged over the one that is built.
//!
//! The merge is the strategic one of Kubernetes: objects field by field, lists of named things item
//! by item, other lists as a whole
//! (<https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>).
//! Where that would make two of what can only be one, what is given takes the place of what was there;
//! tolerations are added to; and a null, which would take something away, is refused.

mod check;
mod merge;

use fermata_crds::Template;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

/// A partial pod template that does no harm.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Overlay {
    given: Value,
    /// The grace period it asks for, in seconds.
    pub(crate) grace_period: Option<i64>,
}

/// Why a partial pod template cannot be merged.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum OverlayError {
    /// A value is of the wrong kind.
    #[error("it is not a partial PodTemplateSpec: {0}")]
    Malformed(String),
    /// A field does not exist.
    #[error("{0} is not a field of a PodTemplateSpec; check its spelling")]
    UnknownField(String),
    /// A null stands where something should be taken away.
    #[error("{0} is null; nothing can be taken away here, leave the field out")]
    Null(String),
    /// An item of a list has no name.
    #[error("an item of {list} lacks its {key}, which says what it is merged with")]
    Unnamed {
        /// The list.
        list: String,
        /// The field that is missing.
        key: &'static str,
    },
    /// A label is taken.
    #[error("the label {0} is Fermata's own, by which pods are found; choose another")]
    Label(String),
    /// An annotation is taken.
    #[error("the annotation {0} is set by the gateway when a pod is to go; leave it out")]
    Annotation(String),
    /// A field does not go with a function.
    #[error("{field} cannot be given: {why}")]
    Field {
        /// The field.
        field: &'static str,
        /// Why, and what to do instead.
        why: &'static str,
    },
    /// A variable is taken.
    #[error("the environment variable {0} is set by Fermata; choose another name")]
    Env(String),
    /// The port that requests go to would be lost.
    #[error(
        "the port of the container function must stay the one named http; set the number with spec.port"
    )]
    Port,
    /// The volume with the source is taken.
    #[error(
        "the volume fermata-source and the mount path /function hold the source; choose others"
    )]
    Source,
    /// A function's pod always runs.
    #[error("restartPolicy {0} does not go with a function, which runs until it is stopped")]
    RestartPolicy(String),
}

// === impl Overlay ===

impl Overlay {
    /// Checks the template's partial pod template; none asks for nothing.
    pub(crate) fn of(template: &Template) -> Result<Self, OverlayError> {
        let given = Value::Object(template.pod_template.clone().unwrap_or_default());
        let typed = check::check(&given, template)?;
        Ok(Self {
            given,
            grace_period: typed
                .spec
                .and_then(|spec| spec.termination_grace_period_seconds),
        })
    }

    /// The pod template with this merged over it.
    pub(crate) fn over(&self, base: &PodTemplateSpec) -> Result<PodTemplateSpec, OverlayError> {
        let malformed = |error: serde_json::Error| OverlayError::Malformed(error.to_string());
        let mut merged = serde_json::to_value(base).map_err(malformed)?;
        merge::merge(&mut merged, &self.given);
        serde_json::from_value(merged).map_err(malformed)
    }
}

#[cfg(test)]
mod tests;
