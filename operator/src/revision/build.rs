//! Step three: the Deployment of a Revision and the ConfigMap with its source. Pure.

pub(crate) mod config_map;
pub(crate) mod dependencies;
mod deployment;
pub(crate) mod env;
pub(crate) mod fetch;
pub(crate) mod overlay;
pub(crate) mod pod;
pub(crate) mod security;

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

/// An image that was built of a Revision.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Image {
    /// By its digest.
    pub(crate) reference: String,
    /// What machines it is for, if that is known.
    pub(crate) architecture: Option<String>,
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
///
/// With an image that was built of it, its pods run that; without one they fetch and install by themselves.
pub(crate) fn build(
    revision: &Revision,
    options: &Options,
    image: Option<&Image>,
) -> Result<Desired, BuildError> {
    let pod = pod_with(revision, options, image)?;
    Ok(Desired {
        config_map: config_map::build(revision),
        deployment: deployment::build(revision, pod, image.is_some()),
    })
}

/// The Revision's pod template, held to its security profile.
pub(crate) fn pod_template(
    revision: &Revision,
    options: &Options,
) -> Result<PodTemplateSpec, BuildError> {
    pod_with(revision, options, None)
}

fn pod_with(
    revision: &Revision,
    options: &Options,
    image: Option<&Image>,
) -> Result<PodTemplateSpec, BuildError> {
    let profile = revision.spec.template.security().profile();
    security::allow(profile, options)?;
    let pod = pod::build(revision, options, image).map_err(BuildError::PodTemplate)?;
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
