//! OpenAPI v2: which resources take a patch, and with which parameters. kubectl asks for it before it sends a
//! `List`; schemas are in version 3 alone.
//!
//! kubectl reads the protobuf form (<https://github.com/google/gnostic-models/blob/main/openapiv2/OpenAPIv2.proto>).

use http::{HeaderMap, Response, header};
use serde_json::{Map, Value, json};

use super::{PARAMETERS, path_of};
use crate::{
    discovery::VERSION,
    resource::{Resource, registry::Registry},
    response::{self, Body},
};

pub(super) const PATH: &str = "/openapi/v2";

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The same as it is answered: an `@` is no part of a media type.
const PROTOBUF_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// What an operation says it is about.
const KIND: &str = "x-kubernetes-group-version-kind";

/// The document, in the form that the client takes.
pub(super) fn answer(headers: &HeaderMap, registry: &Registry) -> Response<Body> {
    let accept = headers.get_all(header::ACCEPT).iter();
    let wants_protobuf = accept
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains(PROTOBUF));
    if wants_protobuf {
        return response::typed(200, PROTOBUF_TYPE, protobuf(registry));
    }
    let paths: Map<String, Value> = registry
        .all()
        .map(|resource| (path_of(resource), json!({"patch": operation(resource)})))
        .collect();
    let document = json!({
        "swagger": "2.0", "info": {"title": "Kubernetes", "version": VERSION}, "paths": paths,
    });
    response::value(200, &document)
}

fn operation(resource: &Resource) -> Value {
    let parameters: Vec<Value> = PARAMETERS
        .iter()
        .map(|name| json!({"name": name, "in": "query", "type": "string"}))
        .collect();
    json!({"parameters": parameters, KIND: super::kind(resource), "responses": {}})
}

fn protobuf(registry: &Registry) -> Vec<u8> {
    let info = [text(1, "Kubernetes"), text(2, VERSION)].concat();
    let paths: Vec<u8> = registry
        .all()
        .flat_map(|resource| {
            let item = message(8, &patch(resource));
            let path = [text(1, &path_of(resource)), message(2, &item)].concat();
            message(2, &path)
        })
        .collect();
    [text(1, "2.0"), message(2, &info), message(8, &paths)].concat()
}

/// An Operation.
fn patch(resource: &Resource) -> Vec<u8> {
    let parameters = PARAMETERS.iter().flat_map(|name| {
        let query = [text(2, "query"), text(4, name), text(6, "string")].concat();
        // ParametersItem, Parameter, NonBodyParameter, QueryParameterSubSchema.
        let parameter = message(2, &message(3, &query));
        message(8, &message(1, &parameter))
    });
    // Every JSON document is one of YAML.
    let kind = text(2, &super::kind(resource).to_string());
    let extension = [text(1, KIND), message(2, &kind)].concat();
    let mut operation: Vec<u8> = parameters.collect();
    operation.extend(message(13, &extension));
    operation
}

/// A field that holds text.
fn text(field: u8, text: &str) -> Vec<u8> {
    message(field, text.as_bytes())
}

/// A field that holds a message, or anything else that has a length (protobuf's wire type 2).
fn message(field: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![field << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
    bytes
}
