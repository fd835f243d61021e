//! Step three: the Deployment of a Revision and the ConfigMap with its source. Pure.

mod config_map;
mod deployment;
mod env;
pub(crate) mod overlay;
mod pod;
mod security;

use fermata_crds::Revision;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};

use self::overlay::OverlayError;

/// What a Revision should have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Desired {
    /// The source files; only for source functions.
    pub(crate) config_map: Option<ConfigMap>,
    /// The Deployment, without its replicas: these are the gateway's.
    pub(crate) deployment: Deployment,
}

/// Builds what a Revision should have.
pub(crate) fn build(revision: &Revision) -> Result<Desired, OverlayError> {
    Ok(Desired {
        config_map: config_map::build(revision),
        deployment: deployment::build(revision)?,
    })
}

#[cfg(test)]
mod tests;
