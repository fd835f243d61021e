//! Bodies read into values, with everything that is odd about them.

mod checked;
pub(crate) mod requests;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeSeed as _;
use serde_json::{Map, Value};

use self::checked::Checked;
use crate::{
    protobuf,
    resource::Resource,
    schema::{self, prune, validate},
    status::{Failure, FieldError},
    typed,
};

/// What to do with fields that nobody knows or that come twice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Validation {
    Ignore,
    Warn,
    Strict,
}

/// A body, and the fields that came twice in it.
pub(crate) struct Decoded {
    pub(crate) value: Value,
    duplicates: Vec<String>,
}

/// How deep values may be nested.
pub(crate) const MAX_DEPTH: usize = 128;

/// Reads JSON, YAML or protobuf.
pub(crate) fn decode(body: &[u8], content_type: &str) -> Result<Decoded, Failure> {
    if content_type == protobuf::CONTENT_TYPE {
        return protobuf::decode(body)
            .map(Decoded::new)
            .map_err(|error| Failure::bad_request(format!("error decoding the body: {error}")));
    }
    let yaml = matches!(
        content_type,
        "application/yaml" | "application/x-yaml" | "text/yaml" | "application/apply-patch+yaml"
    );
    // JSON is YAML too, and clients often send it as such; its reader tells of doubled fields.
    let json = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    if yaml && !json {
        // YAML 1.2: an object called n is no boolean.
        let strict = serde_saphyr::options! { strict_booleans: true };
        let value = serde_saphyr::from_slice_with_options(body, strict)
            .map_err(|error| Failure::bad_request(format!("error decoding YAML: {error}")))?;
        return Ok(Decoded {
            value,
            duplicates: Vec::new(),
        });
    }
    if !yaml
        && !matches!(
            content_type,
            "" | "application/json" | "application/octet-stream"
        )
        && !content_type.ends_with("+json")
    {
        return Err(Failure::unsupported_media_type(format!(
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf (got {content_type})"
        )));
    }
    let mut duplicates = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let seed = Checked::new(&mut duplicates);
    let value = seed
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| Failure::bad_request(format!("error decoding the body: {error}")))?;
    Ok(Decoded { value, duplicates })
}

// === impl Decoded ===

impl Decoded {
    pub(crate) fn new(value: Value) -> Self {
        Self {
            value,
            duplicates: Vec::new(),
        }
    }

    /// Checks that the value is an object of the resource, drops what its schema does not know, and
    /// returns it with warnings about that, if warnings are wanted.
    pub(crate) fn into_object(
        self,
        resource: &Resource,
        validation: Validation,
    ) -> Result<(Value, Vec<String>), Failure> {
        let Self {
            mut value,
            duplicates,
        } = self;
        if too_deep(&value, MAX_DEPTH) {
            return Err(Failure::bad_request(format!(
                "values may be nested at most {MAX_DEPTH} deep"
            )));
        }
        identify(resource, &mut value)?;
        let at = resource.schema.at_root();
        if resource.custom.is_none() {
            prune::fill_nulls(at, &mut value);
        }
        let mut odd: Vec<String> = duplicates
            .iter()
            .map(|path| format!("duplicate field {path:?}"))
            .collect();
        odd.extend(
            prune::prune(at, &mut value)
                .iter()
                .map(|path| format!("unknown field {path:?}")),
        );
        if validation == Validation::Strict && !odd.is_empty() {
            return Err(cannot_be_handled(
                resource,
                &format!("strict decoding error: {}", odd.join(", ")),
            ));
        }
        if let Some(why) = wrong_type(resource, &value) {
            return Err(cannot_be_handled(resource, &why));
        }
        // Whatever the kind, its metadata are read by everybody who lists it.
        typed::check::<Option<ObjectMeta>>(&value["metadata"])
            .and_then(|()| (resource.hooks.check)(&value))
            .map_err(|why| cannot_be_handled(resource, &why.to_string()))?;
        let warnings = if validation == Validation::Warn {
            odd
        } else {
            Vec::new()
        };
        Ok((value, warnings))
    }
}

/// Why a value cannot be read as an object of the resource: some field has another type.
pub(crate) fn wrong_type(resource: &Resource, value: &Value) -> Option<String> {
    let at = resource.schema.at_root();
    // Built-in kinds are decoded into typed structs; of custom ones only the metadata is.
    let (path, wanted) = if resource.custom.is_some() {
        validate::wrong_type(at.child("metadata"), &value["metadata"], "metadata")
    } else {
        validate::wrong_type(at, value, "")
    }?;
    let found = found(value, &path);
    Some(format!(
        "json: cannot unmarshal {found} into Go struct field {}.{path} of type {wanted}",
        resource.kind
    ))
}

/// What Go calls the type of the value at a path.
fn found(value: &Value, path: &str) -> &'static str {
    match schema::value_at(value, path) {
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        _ => "number",
    }
}

fn too_deep(value: &Value, left: usize) -> bool {
    match value {
        _ if left == 0 => true,
        Value::Array(items) => items.iter().any(|item| too_deep(item, left - 1)),
        Value::Object(fields) => fields.values().any(|field| too_deep(field, left - 1)),
        _ => false,
    }
}

fn cannot_be_handled(resource: &Resource, why: &str) -> Failure {
    Failure::bad_request(format!(
        "{} in version {:?} cannot be handled as a {}: {why}",
        resource.kind, resource.version, resource.kind
    ))
}

/// The value must be an object that says what it is; what it leaves unsaid is taken from the request.
fn identify(resource: &Resource, value: &mut Value) -> Result<(), Failure> {
    let Some(object) = value.as_object_mut() else {
        return Err(Failure::bad_request(format!(
            "the body must be a {} object",
            resource.kind
        )));
    };
    for (field, wanted) in [
        ("apiVersion", resource.api_version()),
        ("kind", resource.kind.clone()),
    ] {
        match object
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
        {
            // A custom resource has no type of its own on the server: it has to say what it is.
            "" if resource.custom.is_some() && field == "apiVersion" => {
                return Err(other_version("", &wanted));
            }
            "" => {
                object.insert(field.to_owned(), wanted.into());
            }
            given if given == wanted => {}
            given if resource.custom.is_some() && field == "kind" => {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let why = format!("must be {wanted}");
                let error = FieldError::invalid("kind", &given.into(), why);
                return Err(Failure::invalid(&resource.group, given, name, &[error]));
            }
            given if resource.custom.is_some() => return Err(other_version(given, &wanted)),
            given if field == "kind" => {
                let version = &resource.version;
                return Err(Failure::bad_request(format!(
                    "{given} in version {version:?} cannot be handled as a {wanted}: converting ({version}.{given}) to ({}.{wanted}): unknown conversion",
                    if resource.group.is_empty() {
                        "core"
                    } else {
                        &resource.group
                    }
                )));
            }
            given => {
                let kind = &resource.kind;
                return Err(Failure::bad_request(format!(
                    "{kind} in version {:?} cannot be handled as a {kind}: no kind {kind:?} is registered for version {given:?} in scheme \"pkg/runtime/scheme.go:111\"",
                    given.rsplit('/').next().unwrap_or_default()
                )));
            }
        }
    }
    let metadata = object
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    Ok(())
}

fn other_version(given: &str, wanted: &str) -> Failure {
    Failure::bad_request(format!(
        "the API version in the data ({given}) does not match the expected API version ({wanted})"
    ))
}

// === impl Validation ===

impl Validation {
    /// From the parameter `fieldValidation`; a request that does not say gets warnings.
    pub(crate) fn parse(given: Option<&str>) -> Result<Self, FieldError> {
        match given {
            None | Some("Warn") => Ok(Self::Warn),
            Some("Ignore") => Ok(Self::Ignore),
            Some("Strict") => Ok(Self::Strict),
            Some(other) => Err(FieldError::not_supported(
                "fieldValidation",
                &other.into(),
                &["", "Ignore", "Strict", "Warn"].map(|one| format!("{one:?}")),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resource::registry::Registry;

    #[test]
    fn doubled_fields_are_found_and_the_last_counts() {
        let decoded =
            decode(br#"{"a": {"b": 1, "b": 2}, "c": [{"d": 1, "d": 1}]}"#, "").expect("json");
        assert_eq!(decoded.duplicates, ["a.b", "c[0].d"]);
        assert_eq!(decoded.value, json!({"a": {"b": 2}, "c": [{"d": 1}]}));
    }

    #[test]
    fn yaml_and_json_are_told_apart() {
        let decoded = decode(b"a: {b: [1, x]}\n", "application/yaml").expect("yaml");
        assert_eq!(decoded.value, json!({"a": {"b": [1, "x"]}}));
        assert_eq!(
            decode(b"a: 1", "application/json")
                .err()
                .expect("refused")
                .code,
            400
        );
        assert_eq!(decode(b"{}", "text/html").err().expect("refused").code, 415);
        assert_eq!(decode(b"{} x", "").err().expect("refused").code, 400);
        assert_eq!(
            decode("[".repeat(10_000).as_bytes(), "")
                .err()
                .expect("refused")
                .code,
            400
        );
    }

    #[test]
    fn strict_validation_names_every_odd_field() {
        let registry = Registry::builtin();
        let pods = registry.find("", "v1", "pods").expect("pods");
        let value = json!({"spec": {"containers": [{"name": "a", "imagee": "x"}], "nope": 1}});
        let failure = Decoded::new(value.clone())
            .into_object(pods, Validation::Strict)
            .expect_err("refused");
        assert_eq!(
            failure.message,
            r#"Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.containers[0].imagee", unknown field "spec.nope""#
        );
        let (kept, warnings) = Decoded::new(value)
            .into_object(pods, Validation::Warn)
            .expect("warned");
        assert_eq!(warnings.len(), 2);
        assert_eq!(kept["spec"], json!({"containers": [{"name": "a"}]}));
    }

    #[test]
    fn a_null_is_what_go_makes_of_it() {
        let registry = Registry::builtin();
        let read = |plural: &str, value: Value| {
            let resource = registry.find("", "v1", plural).expect("it is served");
            let decoded = Decoded::new(value).into_object(resource, Validation::Strict);
            decoded.expect("it is read").0
        };
        let pod = read(
            "pods",
            json!({"metadata": {"labels": {"a": null}, "annotations": null},
                   "spec": {"nodeName": null, "containers": [{"args": ["x", null]}, null]}}),
        );
        assert_eq!(pod["metadata"], json!({"labels": {"a": ""}}));
        assert_eq!(
            pod["spec"],
            json!({"containers": [{"args": ["x", ""]}, {}]})
        );
        let quota = read("resourcequotas", json!({"spec": {"hard": {"cpu": null}}}));
        assert_eq!(quota["spec"]["hard"], json!({"cpu": "0"}));
    }

    #[test]
    fn a_value_of_the_wrong_type_is_a_bad_request() {
        let registry = Registry::builtin();
        let pods = registry.find("", "v1", "pods").expect("pods");
        for value in [
            json!({"spec": {"containers": "x"}}),
            json!({"metadata": {"labels": ["x"]}}),
            json!({"spec": "x"}),
            json!([]),
            json!({"kind": "Node"}),
            json!({"apiVersion": "v2"}),
        ] {
            let failure = Decoded::new(value.clone())
                .into_object(pods, Validation::Ignore)
                .expect_err("refused");
            assert_eq!(failure.code, 400, "{value}");
        }
    }
}

#[cfg(test)]
mod fuzz;
