//! Code that a Runtime runs: its files, and how its dependencies are installed.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    ByteString,
    api::core::v1::{EnvVar, ResourceRequirements},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{GitSource, GoDuration};

/// Time for the installation of dependencies when the manifest does not say.
pub const DEFAULT_BUILD_TIMEOUT: Duration = Duration::from_secs(600);

/// The longest that it may take.
pub const MAX_BUILD_TIMEOUT: Duration = Duration::from_secs(3600);

/// Code that a Runtime runs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Name of the Runtime that runs the code, such as python. See kubectl get runtimes.
    pub runtime: String,

    /// What to call, in the Runtime's own way of writing it: main.handle for python, a command
    /// line for command. Default: the Runtime's default handler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,

    /// The files, by path: main.py, or lib/util.py in a folder. With binaryFiles together at most 900 KiB; kubectl apply takes more than 256 KiB with
    /// --server-side only, as fermata deploy does it. Not together with configMap and git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<BTreeMap<String, String>>,

    /// Files that are no text, by path, in base64. Not together with configMap and git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "texts_in_base64")]
    pub binary_files: Option<BTreeMap<String, ByteString>>,

    /// A ConfigMap in the function's namespace whose entries are the files. A change of its data
    /// makes a new Revision. Not together with files, binaryFiles and git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,

    /// A folder of a git repository. Each commit makes a new Revision. Not together with files, binaryFiles and
    /// configMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,

    /// How dependencies are installed, where the Runtime can and the files name some, as
    /// requirements.txt does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildOptions>,
}

/// Base64 with its padding (RFC 4648, section 4).
const BASE64: &str = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$";

/// Not of the format `byte`: rules that compare a whole template would read it as base64 for URLs, and fail
/// (`strfmt.Base64` of k8s.io/kube-openapi).
fn texts_in_base64(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": { "type": "string", "pattern": BASE64 },
    })
}

/// A ConfigMap with source files.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapSource {
    /// Name of the ConfigMap, in the function's namespace.
    pub name: String,
}

/// How dependencies are installed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildOptions {
    /// Environment variables of the installation alone, as in a Pod, such as PIP_INDEX_URL of a private index.
    /// The function itself does not see them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<EnvVar>>,

    /// CPU and memory of the installation, as in a Pod. Default: those of the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// How long the installation may take. At most 1h. Default: 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<GoDuration>,
}

// === impl Source ===

impl Source {
    /// The options of the build; an absent section means every default.
    #[must_use]
    pub fn build(&self) -> BuildOptions {
        self.build.clone().unwrap_or_default()
    }
}

// === impl BuildOptions ===

impl BuildOptions {
    /// How long the build may take, at most [`MAX_BUILD_TIMEOUT`].
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout.map_or(DEFAULT_BUILD_TIMEOUT, |timeout| {
            Duration::from(timeout).min(MAX_BUILD_TIMEOUT)
        })
    }
}
