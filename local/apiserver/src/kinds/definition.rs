//! CustomResourceDefinitions.

use serde_json::{Value, json};

use super::{default, inner, items, text};
use crate::{
    clock, names,
    resource::Hooks,
    schema::{
        OBJECT_META,
        cel::Rules,
        compile::{CompileError, compile},
    },
    status::FieldError,
};

pub(crate) const HOOKS: Hooks = Hooks {
    prepare,
    validate,
    ..Hooks::BUILTIN
};

/// Holds a definition until its objects are gone.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

fn prepare(definition: &mut Value, old: Option<&Value>) {
    let Some(spec) = inner(definition, "spec") else {
        return;
    };
    default(spec, "conversion", json!({"strategy": "None"}));
    if let Some(names) = inner(spec, "names") {
        let kind = text(names, "kind").to_owned();
        default(names, "singular", kind.to_lowercase());
        default(names, "listKind", format!("{kind}List"));
    }
    let names = spec["names"].clone();
    let stored = items(spec, "versions")
        .find(|(_, version)| version["storage"] == true)
        .map(|(_, version)| version["name"].clone());

    if old.is_none() {
        default(&mut definition["metadata"], "finalizers", json!([]));
        if let Some(finalizers) = definition["metadata"]["finalizers"].as_array_mut()
            && !finalizers.contains(&json!(FINALIZER))
        {
            finalizers.push(json!(FINALIZER));
        }
        let condition = |type_: &str, reason: &str, message: &str| {
            json!({
                "type": type_, "status": "True", "reason": reason, "message": message,
                "lastTransitionTime": clock::now(),
            })
        };
        definition["status"] = json!({
            "conditions": [
                condition("NamesAccepted", "NoConflicts", "no conflicts found"),
                condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
            ],
            "storedVersions": [],
        });
    }
    default(definition, "status", json!({}));
    let status = &mut definition["status"];
    status["acceptedNames"] = names;
    default(status, "storedVersions", json!([]));
    if let (Some(versions), Some(stored)) = (status["storedVersions"].as_array_mut(), stored)
        && !versions.contains(&stored)
    {
        versions.push(stored);
    }
}

fn validate(definition: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = &definition["spec"];
    let (names, group) = (&spec["names"], text(spec, "group"));
    let name = text(&definition["metadata"], "name");
    if name != format!("{}.{group}", text(names, "plural")) {
        errors.push(FieldError::invalid(
            "metadata.name",
            &json!(name),
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    if group.split('.').count() < 2 {
        errors.push(FieldError::invalid(
            "spec.group",
            &json!(group),
            "should be a domain with at least one dot",
        ));
    }
    if super::groups().any(|one| one == group) {
        errors.push(FieldError::invalid(
            "spec.group",
            &json!(group),
            "is a group of built-in kinds; choose a group of your own",
        ));
    }
    super::rule::one_of(
        spec["scope"].as_str(),
        "spec.scope",
        &["Cluster", "Namespaced"],
        errors,
    );
    if text(names, "kind").is_empty() {
        errors.push(FieldError::required("spec.names.kind", ""));
    }
    for field in ["plural", "singular"] {
        if let Some(why) = names::label(text(names, field)) {
            errors.push(FieldError::invalid(
                format!("spec.names.{field}"),
                &names[field],
                why,
            ));
        }
    }
    versions(spec, errors);
    if let Some(old) = old {
        for field in ["group", "scope"] {
            if old["spec"][field] != spec[field] {
                errors.push(FieldError::invalid(
                    format!("spec.{field}"),
                    &spec[field],
                    "field is immutable",
                ));
            }
        }
        let immutable = ["plural", "kind"];
        for field in immutable {
            if old["spec"]["names"][field] != names[field] {
                errors.push(FieldError::invalid(
                    format!("spec.names.{field}"),
                    &names[field],
                    "field is immutable",
                ));
            }
        }
    }
}

fn versions(spec: &Value, errors: &mut Vec<FieldError>) {
    let stored = items(spec, "versions")
        .filter(|(_, version)| version["storage"] == true)
        .count();
    if stored != 1 {
        errors.push(FieldError::invalid(
            "spec.versions",
            &spec["versions"],
            "must have exactly one version marked as storage version",
        ));
    }
    // Versions that share a schema have its errors reported once.
    let mut schemas = items(spec, "versions").map(|(_, version)| &version["schema"]);
    let first = schemas.next();
    let same = schemas.all(|schema| Some(schema) == first);
    for (index, version) in items(spec, "versions") {
        let path = format!("spec.versions[{index}]");
        if let Some(why) = names::label(text(version, "name")) {
            errors.push(FieldError::invalid(
                format!("{path}.name"),
                &version["name"],
                why,
            ));
        }
        let path = if same {
            "spec.validation.openAPIV3Schema".to_owned()
        } else {
            format!("{path}.schema.openAPIV3Schema")
        };
        let schema = &version["schema"]["openAPIV3Schema"];
        if !schema.is_object() {
            let path = format!("spec.versions[{index}].schema.openAPIV3Schema");
            errors.push(FieldError::required(path, ""));
            continue;
        }
        if text(schema, "type") != "object" {
            errors.push(FieldError::invalid(
                format!("{path}.type"),
                &schema["type"],
                "must be object at the root",
            ));
        }
        if let Err(error) = compile(&published(spec, version)) {
            errors.push(match error {
                CompileError::Pattern {
                    path: below,
                    pattern,
                    what,
                } => FieldError::invalid(
                    format!("{path}{below}.pattern"),
                    &json!(pattern),
                    format!("must be a valid regular expression, but isn't: error parsing regexp: {what}"),
                ),
                error => FieldError::invalid(&path, &json!(""), error.to_string()),
            });
        }
        for defect in Rules::compile(schema).defects() {
            errors.push(FieldError::invalid(
                format!("{path}.x-kubernetes-validations[0].rule"),
                &json!(""),
                format!("compilation failed: {defect}"),
            ));
        }
    }
}

/// The published schema of a version: what the definition says, with the parts that every object has.
pub(crate) fn published(spec: &Value, version: &Value) -> Value {
    let mut schema = version["schema"]["openAPIV3Schema"].clone();
    if !schema.is_object() {
        schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    }
    let text = |what: &str| json!({"type": "string", "description": what});
    let properties = &mut schema["properties"];
    properties["apiVersion"] = text(
        "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values.",
    );
    properties["kind"] = text(
        "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase.",
    );
    properties["metadata"] = json!({
        "description": "Standard object's metadata.",
        "allOf": [{"$ref": format!("#/components/schemas/{}", OBJECT_META)}],
    });
    schema["x-kubernetes-group-version-kind"] = json!([{
        "group": spec["group"], "version": version["name"], "kind": spec["names"]["kind"],
    }]);
    schema
}
