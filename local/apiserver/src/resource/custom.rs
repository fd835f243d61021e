//! From a CustomResourceDefinition to the resources that it defines.

use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Custom, Hooks, Resource, ScalePaths, Subresources, api_version};
use crate::{
    convert::Conversion,
    kinds::{definition::published, schemas},
    schema::{
        Node, OBJECT_META, Schema, SchemaRef,
        cel::Rules,
        compile::{CompileError, compile},
    },
    status::qualified,
    table::Columns,
};

/// The served versions of a definition, which has to have passed validation.
pub(crate) fn resources(definition: &Value) -> Result<Vec<Resource>, CompileError> {
    let spec = &definition["spec"];
    let versions = spec["versions"].as_array().into_iter().flatten();
    versions
        .filter(|version| version["served"] == true)
        .map(|version| build(spec, version))
        .collect()
}

fn build(spec: &Value, version: &Value) -> Result<Resource, CompileError> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(text).collect()
    };
    let names = &spec["names"];
    let group = text(&spec["group"]);
    let kind = text(&names["kind"]);
    let plural = text(&names["plural"]);
    let name = text(&version["name"]);
    let stored = spec["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|version| version["storage"] == true)
        .map_or_else(|| name.clone(), |version| text(&version["name"]));
    let published = published(spec, version);
    let mut root: Node = compile(&published)?;
    root.root = true;
    // The metadata is the same in every kind.
    root.properties.insert(
        "metadata".to_owned(),
        SchemaRef::Named(OBJECT_META.to_owned()),
    );
    let subresources = &version["subresources"];
    let singular = match text(&names["singular"]) {
        empty if empty.is_empty() => kind.to_lowercase(),
        singular => singular,
    };
    Ok(Resource {
        list_kind: match text(&names["listKind"]) {
            empty if empty.is_empty() => format!("{kind}List"),
            list => list,
        },
        singular,
        short_names: list(&names["shortNames"]),
        categories: list(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        storage: Arc::from(qualified(&plural, &group)),
        stored_version: api_version(&group, &stored),
        conversion: Conversion::None,
        schema: Schema {
            root: Arc::new(SchemaRef::Inline(Box::new(root))),
            definitions: Arc::clone(&schemas::builtins().definitions),
        },
        definition: definition_name(&group, &name, &kind),
        subresources: Subresources {
            status: subresources["status"].is_object(),
            scale: ScalePaths::parse(&subresources["scale"]),
            ..Subresources::default()
        },
        generation: true,
        columns: Columns::custom(&version["additionalPrinterColumns"]),
        hooks: Hooks::NONE,
        custom: Some(Custom {
            rules: Arc::new(Rules::compile(&version["schema"]["openAPIV3Schema"])),
            published,
            selectable: version["selectableFields"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|field| text(&field["jsonPath"]).trim_start_matches('.').to_owned())
                .collect(),
        }),
        served: CancellationToken::new(),
        group,
        version: name,
        kind,
        plural,
    })
}

/// The name in OpenAPI documents: the group reversed, then version and kind.
fn definition_name(group: &str, version: &str, kind: &str) -> String {
    let mut parts: Vec<&str> = group.split('.').rev().collect();
    parts.push(version);
    parts.push(kind);
    parts.join(".")
}
