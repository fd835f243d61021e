//! Step three: the Deployment of a Revision and the ConfigMap with its source. Pure.

mod config_map;
mod dependencies;
mod deployment;
mod env;
pub(crate) mod fetch;
pub(crate) mod overlay;
mod pod;
mod security;

use fermata_crds::Revision;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, PodTemplateSpec},
};

use self::{overlay::OverlayError, security::SecurityError};
use crate::{options::Options, reasons};

/// What a Revision should have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Desired {
    /// The source files; only for source functions.
    pub(crate) config_map: Option<ConfigMap>,
    /// The Deployment, without its replicas: these are the gateway's.
    pub(crate) deployment: Deployment,
}

/// Why nothing may be built of a template.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum BuildError {
    /// The partial pod template cannot be merged.
    #[error("podTemplate: {0}")]
    PodTemplate(OverlayError),
    /// The pod could do more than it may.
    #[error(transparent)]
    Security(#[from] SecurityError),
}

/// Builds what a Revision should have. Nothing is built of a template whose pod could do more than it
/// may.
pub(crate) fn build(revision: &Revision, options: &Options) -> Result<Desired, BuildError> {
    Ok(Desired {
        config_map: config_map::build(revision),
        deployment: deployment::build(revision, pod_template(revision, options)?),
    })
}

/// The Revision's pod template, held to its security profile.
pub(crate) fn pod_template(
    revision: &Revision,
    options: &Options,
) -> Result<PodTemplateSpec, BuildError> {
    let profile = revision.spec.template.security().profile();
    security::allow(profile, options)?;
    let pod = pod::build(revision, options).map_err(BuildError::PodTemplate)?;
    security::check(profile, &pod, options)?;
    Ok(pod)
}

// === impl BuildError ===

impl BuildError {
    /// The reason for conditions.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::PodTemplate(_) => reasons::INVALID_SPEC,
            Self::Security(_) => reasons::POD_SECURITY_VIOLATION,
        }
    }
}

#[cfg(test)]
mod tests;
