//! `Revision`: one distinct template of a Function, with its own Deployment.

use k8s_openapi::{api::core::v1::EnvVar, apimachinery::pkg::apis::meta::v1::Condition};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{RuntimeBuild, Scale, Template};

/// One distinct template of a Function. Made by the operator; only its scale ever changes.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "fermata.dev",
    version = "v1alpha1",
    kind = "Revision",
    plural = "revisions",
    shortname = "rev",
    category = "fermata",
    namespaced,
    status = "RevisionStatus",
    derive = "PartialEq",
    doc = "One distinct template of a Function. Made by the operator; only its scale ever changes.",
    printcolumn = r#"{"name":"Function","type":"string","jsonPath":".spec.functionName"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Replicas","type":"integer","jsonPath":".status.replicas"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Commit","type":"string","priority":1,"jsonPath":".spec.commit"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct RevisionSpec {
    /// Name of the Function this is a Revision of, in the same namespace.
    pub function_name: String,

    /// What runs. Source files are always inline here, also those that came from a ConfigMap; those of a git
    /// repository are fetched by each pod.
    pub template: Template,

    /// The commit whose files run; only with template.source.git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,

    /// The Runtime as it was when the Revision was made; only with template.source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<ResolvedRuntime>,

    /// The Function's annotation fermata.dev/build when the Revision was made: another one builds anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_requested: Option<String>,

    /// How many replicas run, and when; follows the Function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
}

/// What a Revision took over from its Runtime. Later changes of the Runtime do not reach it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedRuntime {
    /// The image that runs the code.
    pub image: String,

    /// The command that runs the code.
    pub command: Vec<String>,

    /// Environment variables from the Runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<EnvVar>>,

    /// The image that fetches the source files; only where they are in a git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_image: Option<String>,

    /// How the dependencies are installed; only where the files name some, or may do so in a git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<RuntimeBuild>,
}

/// What the cluster made of the Revision.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready and Active, and Built where dependencies are installed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,

    /// Replicas that exist now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,

    /// Replicas that are ready now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,

    /// Whether the Revision has ever been ready. Until then it gets no traffic.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_been_ready: bool,

    /// The image that was built of the Revision; only where the installation has a registry for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<RevisionBuild>,
}

/// The image of a Revision with source, or how far it is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionBuild {
    /// Digest of all that the dependencies depend on: the files that name them, the image and command of the
    /// build, its variables, and which nodes it may run on. Where another Revision of the namespace has the same, they
    /// are not installed again.
    pub key: String,

    /// The image by its digest, once it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,

    /// The Runtime's image that it is made on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,

    /// The architecture of the nodes that it is for, such as amd64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,

    /// Its layer with the dependencies, if there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<BuiltLayer>,

    /// How many tries in a row have ended for a reason that may pass. The next one waits the longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,

    /// A layer that another Revision has told of and the registry has no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// A layer of an image.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuiltLayer {
    /// Digest of the layer as the registry keeps it.
    pub digest: String,

    /// Digest of what it holds, before it is compressed.
    pub diff_id: String,

    /// Its size in the registry, in bytes.
    pub size: i64,
}

// === impl RevisionSpec ===

impl RevisionSpec {
    /// How the dependencies are installed; only where the files name some.
    #[must_use]
    pub fn build(&self) -> Option<&RuntimeBuild> {
        self.runtime.as_ref()?.build.as_ref()
    }

    /// The scale settings; an absent section means every default.
    #[must_use]
    pub fn scale(&self) -> Scale {
        self.scale.clone().unwrap_or_default()
    }
}
