//! What functions get whose manifests do not say.

use std::str::FromStr;

use clap::Args;
use k8s_openapi::api::core::v1::ResourceRequirements;

/// The user that the shipped runtimes' images are made for.
const SOURCE_USER: i64 = 65532;

/// Settings of functions. A change of one restarts the functions that it is for.
#[derive(Args, Clone, Debug, Default)]
pub struct Functions {
    /// Resources of functions whose manifests give none, in JSON as in a Pod: {"requests":{"cpu":"10m"}}.
    /// Default: none.
    #[arg(
        long = "function-resources",
        env = "FERMATA_FUNCTION_RESOURCES",
        value_name = "JSON",
        value_parser = resources
    )]
    pub resources: Option<ResourceRequirements>,

    /// User that source functions run as, or "none": what their image or the cluster says.
    #[arg(
        long,
        env = "FERMATA_SOURCE_USER",
        default_value = "65532",
        value_name = "UID"
    )]
    pub source_user: SourceUser,

    /// Secrets that images of Runtimes are pulled with, separated by commas. They have to exist in the
    /// functions' namespaces.
    #[arg(
        long,
        env = "FERMATA_RUNTIME_PULL_SECRETS",
        value_delimiter = ',',
        value_name = "NAMES"
    )]
    pub runtime_pull_secrets: Vec<String>,
}

/// The user of source functions; `None` leaves it open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SourceUser(pub Option<i64>);

/// A setting of functions that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FunctionsError {
    /// The resources are none.
    #[error("these are no resources as in a Pod, in JSON: {0}")]
    Resources(#[source] serde_json::Error),
    /// The user is none.
    #[error("{0:?} is neither the number of a user above 0 nor \"none\"")]
    User(String),
}

// === impl SourceUser ===

impl Default for SourceUser {
    fn default() -> Self {
        Self(Some(SOURCE_USER))
    }
}

impl FromStr for SourceUser {
    type Err = FunctionsError;

    fn from_str(text: &str) -> Result<Self, FunctionsError> {
        if text == "none" {
            return Ok(Self(None));
        }
        let user = text.parse::<u32>().ok().filter(|user| *user > 0);
        user.map(|user| Self(Some(user.into())))
            .ok_or_else(|| FunctionsError::User(text.to_owned()))
    }
}

fn resources(text: &str) -> Result<ResourceRequirements, FunctionsError> {
    serde_json::from_str(text).map_err(FunctionsError::Resources)
}
