//! `Runtime`: how the code of one language is run.

use k8s_openapi::api::core::v1::EnvVar;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::source_files;

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

    /// How the dependencies of a function are installed. Without it none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<RuntimeBuild>,
}

/// How the dependencies of a function are installed: a command that runs before the function starts. It
/// finds its inputs at /source, which is the working directory, and puts the result into the folder that
/// FERMATA_TARGET names.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeBuild {
    /// The image that holds the tools.
    pub image: String,

    /// The command, such as ["fermata-invoker", "build", "python"]. Exit code 75 means that a registry could not
    /// be reached, 74 that a disk is full, and both that it is tried again; any other but 0, that the files have to be
    /// changed. The last line it writes to standard error
    /// is shown to the user.
    pub command: Vec<String>,

    /// Which files name the dependencies, such as requirements.txt. Where none of them is there, nothing is built,
    /// and a build sees no others. A pattern without / is for the names of files in all folders, one with / for
    /// the whole path; * is any run of characters. Default: all files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Vec<String>>,

    /// Where the result is mounted for the function, such as /dependencies. The function has it in FERMATA_DEPENDENCIES
    /// as well.
    pub target: String,

    /// Environment variables of the command; the function's source.build.env goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<EnvVar>>,
}

// === impl RuntimeBuild ===

impl RuntimeBuild {
    /// Whether a file is one of the inputs.
    #[must_use]
    pub fn is_input(&self, path: &str) -> bool {
        let inputs = self.inputs.as_ref();
        inputs.is_none_or(|patterns| source_files::is_input(patterns, path))
    }
}
