//! `Runtime`: how the code of one language is run.

use k8s_openapi::api::core::v1::EnvVar;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the code of one language is run, so that a language is data and not code.
///
/// The source files are mounted at `/function`, which is the working directory; the handler is in
/// the environment variable `FERMATA_HANDLER`; the command has to listen on `PORT`.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "fermata.dev",
    version = "v1alpha1",
    kind = "Runtime",
    plural = "runtimes",
    category = "fermata",
    derive = "PartialEq",
    doc = "How the code of one language is run. The source files are mounted at /function, which is the working directory; the handler is in the environment variable FERMATA_HANDLER; the command has to listen on PORT.",
    printcolumn = r#"{"name":"Image","type":"string","jsonPath":".spec.image"}"#,
    printcolumn = r#"{"name":"Handler","type":"string","jsonPath":".spec.handler"}"#,
    printcolumn = r#"{"name":"Description","type":"string","jsonPath":".spec.description","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeSpec {
    /// What the Runtime is for, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,

    /// The image that holds the language and the invoker.
    pub image: String,

    /// The command that serves the code over HTTP on $PORT, such as ["fermata-invoker", "python"].
    pub command: Vec<String>,

    /// The handler of functions that name none. Without it a function must name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,

    /// Name of the file that holds the handler when there is only one, such as main.py.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,

    /// Environment variables for every function of the Runtime; the function's own go first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<EnvVar>>,
}
