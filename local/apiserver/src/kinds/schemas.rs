//! The schemas of the built-in kinds, from k8s-openapi.

use std::sync::{Arc, OnceLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta, Status};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::{KINDS, REQUESTS};
use crate::schema::{Definitions, QUANTITY, Schema, SchemaRef, compile::compile, merge_keys};

/// Every definition, as published and as compiled.
pub(crate) struct Builtins {
    /// OpenAPI v3 components, by definition name.
    pub(crate) published: Map<String, Value>,
    pub(crate) definitions: Arc<Definitions>,
}

/// The definitions, made once.
pub(crate) fn builtins() -> &'static Builtins {
    static BUILTINS: OnceLock<Builtins> = OnceLock::new();
    BUILTINS.get_or_init(Builtins::new)
}

// === impl Builtins ===

impl Builtins {
    fn new() -> Self {
        let mut published = collect();
        merge_keys::annotate(&mut published);
        let definitions = published
            .iter()
            // k8s-openapi's schemas hold no patterns, and its references end the nesting.
            .filter_map(|(name, schema)| Some((name.clone(), compile(schema).ok()?)))
            .map(|(name, mut node)| {
                if name.ends_with(".resource.Quantity") {
                    node.format = Some(QUANTITY.to_owned());
                }
                node.root = node.properties.contains_key("metadata")
                    && node.properties.contains_key("kind");
                (name, node)
            })
            .collect();
        Self {
            published,
            definitions: Arc::new(definitions),
        }
    }

    /// The schema of a definition such as `io.k8s.api.core.v1.Pod`.
    pub(crate) fn schema(&self, definition: &str) -> Schema {
        Schema {
            root: Arc::new(SchemaRef::Named(definition.to_owned())),
            definitions: Arc::clone(&self.definitions),
        }
    }
}

fn collect() -> Map<String, Value> {
    let mut generator = SchemaSettings::openapi3().into_generator();
    let kinds = KINDS.iter().map(|kind| kind.schema);
    let requests = REQUESTS.iter().map(|request| request.schema);
    for add in kinds.chain(requests) {
        add(&mut generator);
    }
    let _ = generator.subschema_for::<ObjectMeta>();
    let _ = generator.subschema_for::<ListMeta>();
    let _ = generator.subschema_for::<Status>();
    generator.take_definitions(true).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf;

    #[test]
    fn every_kind_has_a_schema_and_all_but_definitions_a_message() {
        let kinds = KINDS
            .iter()
            .map(|one| (one.group, one.version, one.kind, (one.definition)()));
        let requests = REQUESTS.iter();
        let requests = requests.map(|one| (one.group, one.version, one.kind, (one.definition)()));
        for (group, version, kind, definition) in kinds.chain(requests) {
            assert!(builtins().published.contains_key(&*definition), "{kind}");
            let api_version = crate::resource::api_version(group, version);
            assert_eq!(
                protobuf::knows(&api_version, kind),
                group != "apiextensions.k8s.io",
                "{kind}: add it to xtask/src/kubernetes.rs and run cargo xtask gen"
            );
        }
    }
}
