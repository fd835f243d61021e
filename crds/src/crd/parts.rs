//! The way through a schema.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// The schemas directly below a schema.
pub(super) fn parts(schema: &mut JSONSchemaProps) -> Vec<&mut JSONSchemaProps> {
    let mut parts = Vec::new();
    parts.extend(
        schema
            .properties
            .iter_mut()
            .flat_map(|map| map.values_mut()),
    );
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => parts.push(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => parts.extend(items),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        parts.push(values);
    }
    for list in [&mut schema.all_of, &mut schema.any_of, &mut schema.one_of] {
        parts.extend(list.iter_mut().flatten());
    }
    parts
}
