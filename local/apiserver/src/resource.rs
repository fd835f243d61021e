//! The kinds of objects that are served, built in or defined by a CustomResourceDefinition.

pub(crate) mod builtin;
pub(crate) mod custom;
pub(crate) mod registry;

use std::{fmt, sync::Arc};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    convert::Conversion,
    names,
    schema::{Schema, cel::Rules},
    status::{Failure, FieldError},
    table::Columns,
};

/// One version of one kind of objects.
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    /// Where the objects are kept: `plural.group`, the same for all versions.
    pub(crate) storage: Arc<str>,
    /// The `apiVersion` that objects are kept in.
    pub(crate) stored_version: String,
    pub(crate) conversion: Conversion,
    pub(crate) schema: Schema,
    /// The name of the schema in OpenAPI documents.
    pub(crate) definition: String,
    pub(crate) subresources: Subresources,
    /// `metadata.generation` counts the changes of the spec.
    pub(crate) generation: bool,
    pub(crate) columns: Columns,
    pub(crate) hooks: Hooks,
    /// What only custom resources have.
    pub(crate) custom: Option<Custom>,
    /// Cancelled when the resource is served no longer.
    pub(crate) served: CancellationToken,
}

/// What can be addressed below an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subresources {
    pub(crate) status: bool,
    pub(crate) scale: Option<ScalePaths>,
    pub(crate) finalize: bool,
    pub(crate) log: bool,
    /// `exec`, `attach` and `portforward`.
    pub(crate) streams: bool,
    pub(crate) eviction: bool,
    pub(crate) token: bool,
}

/// Where the fields of a Scale stand in an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ScalePaths {
    pub(crate) spec_replicas: Vec<String>,
    pub(crate) status_replicas: Vec<String>,
    pub(crate) selector: Option<Vec<String>>,
}

/// What only a kind itself knows.
#[derive(Clone, Copy)]
pub(crate) struct Hooks {
    /// Says why an object cannot be read as the type of its kind, if it cannot. What is stored can.
    pub(crate) check: fn(&Value) -> Result<(), serde_json::Error>,
    /// Fills in defaults and what the server decides, before validation.
    pub(crate) prepare: fn(&mut Value, Option<&Value>),
    /// Rules beyond the schema.
    pub(crate) validate: fn(&Value, Option<&Value>, &mut Vec<FieldError>),
    /// What is wrong with a name, if anything.
    pub(crate) name: fn(&str) -> Option<String>,
    /// The fields that Go's structs always have. They come with an object and belong to nobody.
    pub(crate) skeleton: fn() -> Value,
}

/// What a definition says beyond the common.
pub(crate) struct Custom {
    pub(crate) rules: Arc<Rules>,
    /// The schema as published.
    pub(crate) published: Value,
    pub(crate) selectable: Vec<String>,
}

// === impl Resource ===

impl Resource {
    /// `group/version`, or `version` in the core group.
    pub(crate) fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    pub(crate) fn not_found(&self, name: &str) -> Failure {
        Failure::not_found(&self.group, &self.plural, name)
    }

    pub(crate) fn modified(&self, name: &str) -> Failure {
        Failure::modified(&self.group, &self.plural, name)
    }

    pub(crate) fn conflict(&self, name: &str, why: impl fmt::Display) -> Failure {
        Failure::conflict(&self.group, &self.plural, name, why)
    }

    pub(crate) fn forbidden(&self, name: &str, why: impl fmt::Display) -> Failure {
        Failure::forbidden(&self.group, &self.plural, name, why)
    }

    pub(crate) fn invalid(&self, name: &str, errors: &[FieldError]) -> Failure {
        Failure::invalid(&self.group, &self.kind, name, errors)
    }

    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("plural", &self.plural)
            .field("apiVersion", &self.api_version())
            .finish_non_exhaustive()
    }
}

// === impl Hooks ===

impl Hooks {
    /// Those of a custom resource.
    pub(crate) const NONE: Self = Self {
        check: |_| Ok(()),
        prepare: |_, _| {},
        validate: |_, _, _| {},
        name: names::subdomain,
        skeleton: || json!({"metadata": {}}),
    };

    /// Those of a built-in kind that says nothing else.
    pub(crate) const BUILTIN: Self = Self {
        skeleton: || json!({"metadata": {}, "spec": {"containers": null}, "status": {}}),
        ..Self::NONE
    };
}

// === impl ScalePaths ===

impl ScalePaths {
    /// From the JSON paths of a definition, such as `.spec.replicas`.
    pub(crate) fn parse(scale: &Value) -> Option<Self> {
        let path = |name: &str| -> Option<Vec<String>> {
            let path = scale[name].as_str()?.strip_prefix('.')?;
            Some(path.split('.').map(str::to_owned).collect())
        };
        Some(Self {
            spec_replicas: path("specReplicasPath")?,
            status_replicas: path("statusReplicasPath")?,
            selector: path("labelSelectorPath"),
        })
    }

    pub(crate) fn builtin() -> Self {
        Self {
            spec_replicas: vec!["spec".to_owned(), "replicas".to_owned()],
            status_replicas: vec!["status".to_owned(), "replicas".to_owned()],
            selector: None,
        }
    }
}

/// `group/version`, or `version` in the core group.
pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// The value at the end of a path of fields.
pub(crate) fn at_path<'a>(value: &'a Value, path: &[String]) -> &'a Value {
    path.iter().fold(value, |value, name| &value[name.as_str()])
}
