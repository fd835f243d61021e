//! Creation.

use std::sync::Arc;

use http::Response;
use serde_json::Value;

use super::{
    commit::{self, Options},
    read::represent,
};
use crate::{
    api::{Api, Call},
    apply::managers::Operation,
    decode::decode,
    random,
    request::Target,
    resource::Resource,
    response::{self, Body},
    security,
    status::Failure,
    store::{Expect, Key, Object, Put},
};

/// How often a write is tried again because somebody else was quicker.
pub(super) const MAX_TRIES: usize = 8;

/// The longest name that can be generated from a prefix.
const MAX_PREFIX: usize = 63 - 5;

/// What came of a write.
pub(crate) struct Written {
    pub(crate) object: Arc<Object>,
    pub(crate) warnings: Vec<String>,
    pub(crate) created: bool,
}

// === impl Written ===

impl Written {
    pub(crate) fn response(&self, api: &Api, call: &Call) -> Response<Body> {
        let code = if self.created { 201 } else { 200 };
        let body = represent(&call.target.resource, &self.object, call.form, true);
        let mut response = response::json(code, body);
        response::warn(&mut response, &self.warnings);
        if call.target.subresource.is_none() {
            let (resource, object) = (&call.target.resource, self.object.value());
            let warning = api
                .store
                .view(|state| security::warning(state, resource, &object));
            response::warn(&mut response, warning.as_slice());
        }
        response
    }
}

pub(crate) async fn create(api: &Api, call: &Call) -> Result<Response<Body>, Failure> {
    let options = Options::new(call)?;
    let resource = &call.target.resource;
    if resource.namespaced && call.target.namespace.is_none() {
        return Err(Failure::method_not_allowed());
    }
    let decoded = decode(&call.body, call.content_type())?;
    let (object, warnings) = decoded.into_object(resource, options.validation)?;
    let object = create_object(api, &call.target, &options, object, |new| {
        let manager = options.manager(resource, Operation::Update, "");
        commit::own(resource, manager, None, new);
        Ok(())
    })
    .await?;
    let written = Written {
        object,
        warnings,
        created: true,
    };
    Ok(written.response(api, call))
}

/// Creates an object that has been decoded, in the version of the request.
pub(crate) async fn create_object(
    api: &Api,
    target: &Target,
    options: &Options,
    mut object: Value,
    own: impl Fn(&mut Value) -> Result<(), Failure>,
) -> Result<Arc<Object>, Failure> {
    let resource = &target.resource;
    place(target, &mut object)?;
    let metadata = &mut object["metadata"];
    if metadata["resourceVersion"]
        .as_str()
        .is_some_and(|version| !version.is_empty())
    {
        return Err(Failure::unclassified(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    if let Some(metadata) = metadata.as_object_mut() {
        for field in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "resourceVersion",
        ] {
            metadata.remove(field);
        }
    }
    let given = metadata["name"].as_str().unwrap_or_default().to_owned();
    let prefix = metadata["generateName"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    for _ in 0..MAX_TRIES {
        let name = if given.is_empty() && !prefix.is_empty() {
            let prefix: String = prefix.chars().take(MAX_PREFIX).collect();
            format!("{prefix}{}", random::suffix())
        } else {
            given.clone()
        };
        let mut new = object.clone();
        commit::admit_new(api, resource, &mut new, &name)?;
        own(&mut new)?;
        let stored = resource.conversion.to_stored(new, &resource.stored_version);
        let key = Key::of(&stored);
        let pod = stored.clone();
        let guard = |state: &crate::store::State| {
            commit::definition_takes(state, resource, &name)?;
            commit::namespace_takes(state, resource, &key.namespace, &name)?;
            if let Some(old) = state.get(&resource.storage, &key) {
                return Err(exists(resource, &old.value(), &name));
            }
            security::enforce(state, resource, &pod)?;
            commit::quotas_take(state, resource, &pod)
        };
        if options.dry_run {
            api.store.view(guard)?;
            return Ok(Arc::new(Object::unstored(&stored)));
        }
        let written = commit::store(
            api,
            resource,
            &key,
            Expect::Absent,
            Put::Store(stored),
            guard,
        )
        .await;
        match written {
            Ok(object) => return Ok(object),
            Err(error) => match commit::refusal(error) {
                Some(failure) => return Err(failure),
                // A generated name that is taken is generated again.
                None if given.is_empty() => {}
                None => {
                    let old = api.store.get(&resource.storage, &key);
                    let old = old.map(|old| old.value()).unwrap_or_default();
                    return Err(exists(resource, &old, &name));
                }
            },
        }
    }
    Err(Failure::already_exists(
        &resource.group,
        &resource.plural,
        &prefix,
    ))
}

fn exists(resource: &Resource, old: &Value, name: &str) -> Failure {
    let mut failure = Failure::already_exists(&resource.group, &resource.plural, name);
    if !old["metadata"]["deletionTimestamp"].is_null() {
        failure.message = format!("object is being deleted: {}", failure.message);
    }
    failure
}

/// The object goes where the path says, and must not say otherwise.
pub(crate) fn place(target: &Target, object: &mut Value) -> Result<(), Failure> {
    let metadata = &mut object["metadata"];
    let namespace = target.namespace.as_deref().unwrap_or_default();
    match metadata["namespace"].as_str().unwrap_or_default() {
        given if given == namespace => {}
        "" => metadata["namespace"] = namespace.into(),
        _ if namespace.is_empty() => {
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.remove("namespace");
            }
        }
        _ => {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    if let Some(name) = &target.name {
        match metadata["name"].as_str().unwrap_or_default() {
            given if given == name => {}
            "" => metadata["name"] = name.as_str().into(),
            given => {
                return Err(Failure::bad_request(format!(
                    "the name of the object ({given}) does not match the name on the URL ({name})"
                )));
            }
        }
    }
    Ok(())
}
