//! What a row says of a built-in kind. Most of it is in k8s-openapi's type.

use std::borrow::Cow;

use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope, SubResourceScope,
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};
use schemars::{JsonSchema, SchemaGenerator};

use crate::{convert::Conversion, resource::Hooks, table::Columns};

/// A kind whose objects are kept.
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) namespaced: bool,
    /// The name of its schema in OpenAPI documents.
    pub(crate) definition: fn() -> Cow<'static, str>,
    /// Adds its schema, and those that it refers to.
    pub(super) schema: fn(&mut SchemaGenerator),
    pub(crate) short_names: &'static [&'static str],
    pub(crate) categories: &'static [&'static str],
    pub(crate) subresources: &'static [&'static str],
    /// `metadata.generation` counts the changes of the spec.
    pub(crate) generation: bool,
    /// The group whose objects these are, seen in other words.
    pub(crate) storage_group: &'static str,
    pub(crate) conversion: Conversion,
    /// The columns of its tables.
    pub(crate) columns: fn() -> Columns,
    pub(crate) hooks: Hooks,
}

/// A kind of body that is kept nowhere.
pub(crate) struct Request {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    /// The end of its path, if it is asked by itself and not of an object.
    pub(crate) plural: Option<&'static str>,
    /// What it may call itself; empty for what belongs to every group.
    pub(crate) api_versions: &'static [&'static str],
    /// The name of its schema.
    pub(crate) definition: fn() -> Cow<'static, str>,
    /// Adds its schema, and those that it refers to.
    pub(super) schema: fn(&mut SchemaGenerator),
}

/// Where the objects of a kind are.
pub(super) trait Scope {
    const NAMESPACED: bool;
    /// Its path hangs on that of an object.
    const BELOW: bool = false;
}

// === impl Scope ===

impl Scope for ClusterResourceScope {
    const NAMESPACED: bool = false;
}

impl Scope for NamespaceResourceScope {
    const NAMESPACED: bool = true;
}

impl Scope for SubResourceScope {
    const NAMESPACED: bool = true;
    const BELOW: bool = true;
}

// === impl Kind ===

impl Kind {
    /// What is known of a kind by its type; the rest is as most kinds have it.
    pub(super) const fn of<T>(columns: fn() -> Columns) -> Self
    where
        T: k8s_openapi::Resource + JsonSchema,
        T::Scope: Scope,
    {
        Self {
            group: T::GROUP,
            version: T::VERSION,
            kind: T::KIND,
            plural: T::URL_PATH_SEGMENT,
            namespaced: T::Scope::NAMESPACED,
            definition: T::schema_name,
            schema: add::<T>,
            short_names: &[],
            categories: &[],
            subresources: &[],
            generation: false,
            storage_group: T::GROUP,
            conversion: Conversion::None,
            columns,
            hooks: Hooks::BUILTIN,
        }
    }
}

// === impl Request ===

impl Request {
    pub(super) const fn of<T>() -> Self
    where
        T: k8s_openapi::Resource + JsonSchema,
        T::Scope: Scope,
    {
        Self {
            group: T::GROUP,
            version: T::VERSION,
            kind: T::KIND,
            plural: if T::Scope::BELOW {
                None
            } else {
                Some(T::URL_PATH_SEGMENT)
            },
            api_versions: const { &[T::API_VERSION] },
            definition: T::schema_name,
            schema: add::<T>,
        }
    }

    /// The options of a deletion, which need not say what they are.
    pub(super) const fn delete_options() -> Self {
        Self {
            group: "",
            version: "v1",
            kind: "DeleteOptions",
            plural: None,
            api_versions: &[],
            definition: DeleteOptions::schema_name,
            schema: add::<DeleteOptions>,
        }
    }
}

fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    let _ = generator.subschema_for::<T>();
}
