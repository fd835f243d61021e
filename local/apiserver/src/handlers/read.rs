//! Get and list.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use crate::{
    api::Api,
    request::{Call, Form, Query, Target},
    resource::Resource,
    response::{self, Body},
    selector::{FieldSelector, LabelSelector},
    status::{Failure, FieldError},
    store::{Key, Object},
    table,
};

/// Which objects a request is about.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) namespace: Option<String>,
    labels: LabelSelector,
    fields: FieldSelector,
    resource: Arc<Resource>,
}

// === impl Filter ===

impl Filter {
    pub(crate) fn new(target: &Target, query: &Query) -> Result<Self, Failure> {
        let resource = &target.resource;
        let labels = query.get("labelSelector").unwrap_or_default();
        let fields = query.get("fieldSelector").unwrap_or_default();
        let mut fields = FieldSelector::parse(fields, resource)?;
        if let Some(name) = &target.name {
            fields = fields.and_name(name);
        }
        Ok(Self {
            namespace: target.namespace.clone(),
            labels: LabelSelector::parse(labels)?,
            fields,
            resource: Arc::clone(resource),
        })
    }

    /// Whether all objects pass.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether a stored object passes, its namespace included.
    pub(crate) fn matches(&self, key: &Key, object: &Object) -> bool {
        if self
            .namespace
            .as_ref()
            .is_some_and(|namespace| *namespace != key.namespace)
        {
            return false;
        }
        if !self.labels.is_empty() && !self.labels.matches(&object.value()["metadata"]["labels"]) {
            return false;
        }
        if self.fields.is_empty() {
            return true;
        }
        let (value, api_version) = (object.value(), self.resource.api_version());
        let served = self.resource.conversion.to_served(&value, &api_version);
        self.fields.matches(&served)
    }
}

/// An object in the form that the client asked for.
pub(crate) fn represent(resource: &Resource, object: &Object, form: Form, header: bool) -> Bytes {
    let same = resource.api_version() == resource.stored_version
        || object.value()["apiVersion"] == resource.api_version();
    if form == Form::Object && same {
        return object.json.clone();
    }
    let stored = object.value();
    let value = resource
        .conversion
        .to_served(&stored, &resource.api_version());
    Bytes::from(represent_value(resource, &value, form, header).to_string())
}

fn represent_value(resource: &Resource, value: &Value, form: Form, header: bool) -> Value {
    match form {
        Form::Object => value.clone(),
        Form::Partial => table::partial(value),
        Form::Table(include) => {
            let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
            let rows = std::iter::once(value);
            table::table(&resource.columns, rows, &metadata, include, header)
        }
    }
}

/// The object that a request names.
pub(crate) fn find(api: &Api, target: &Target) -> Result<Arc<Object>, Failure> {
    let name = target.name.as_deref().unwrap_or_default();
    let key = Key::new(target.namespace.clone().unwrap_or_default(), name);
    api.store
        .get(&target.resource.storage, &key)
        .ok_or_else(|| target.resource.not_found(name))
}

pub(crate) fn get(api: &Api, call: &Call) -> Result<Response<Body>, Failure> {
    if let Some(wanted) = call.query.number::<u64>("resourceVersion")? {
        newer(wanted, api.store.revision())?;
    }
    let object = find(api, &call.target)?;
    let body = represent(&call.target.resource, &object, call.form, true);
    Ok(response::json(200, body))
}

pub(crate) fn list(api: &Api, call: &Call) -> Result<Response<Body>, Failure> {
    let resource = &call.target.resource;
    let filter = Filter::new(&call.target, &call.query)?;
    let page = Page::new(&call.query, api.store.revision())?;
    let listing = api
        .store
        .list(&resource.storage, filter.namespace.as_deref(), page.at)
        .map_err(|_| page.expired())?;
    let mut matching = listing
        .items
        .into_iter()
        .filter(|(key, _)| page.after.as_ref().is_none_or(|after| key > after))
        .filter(|(key, object)| filter.matches(key, object));
    let mut items: Vec<(Key, Arc<Object>)> = Vec::new();
    items.extend(matching.by_ref().take(page.limit.unwrap_or(usize::MAX)));
    let mut metadata = json!({"resourceVersion": listing.revision.to_string()});
    let remaining = matching.count();
    if remaining > 0
        && let Some((last, _)) = items.last()
    {
        metadata["continue"] = token(listing.revision, last).into();
        // With a selector the real server does not count either.
        if filter.is_empty() {
            metadata["remainingItemCount"] = remaining.into();
        }
    }
    let objects: Vec<Arc<Object>> = items.into_iter().map(|(_, object)| object).collect();
    Ok(response::json(
        200,
        body(resource, &objects, &metadata, call.form),
    ))
}

/// A list of objects in the form that the client asked for.
pub(crate) fn body(
    resource: &Resource,
    objects: &[Arc<Object>],
    metadata: &Value,
    form: Form,
) -> Bytes {
    let api_version = resource.api_version();
    if let Form::Table(include) = form {
        let served = objects.iter().map(|object| {
            let value = object.value();
            resource
                .conversion
                .to_served(&value, &api_version)
                .into_owned()
        });
        let table = table::table(&resource.columns, served, metadata, include, true);
        return Bytes::from(table.to_string());
    }
    let (kind, version) = match form {
        Form::Partial => ("PartialObjectMetadataList", "meta.k8s.io/v1"),
        _ => (resource.list_kind.as_str(), api_version.as_str()),
    };
    let size: usize = objects.iter().map(|object| object.json.len() + 1).sum();
    let mut body = Vec::with_capacity(size + 256);
    let head = format!(
        "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{metadata},\"items\":[",
        json!(kind),
        json!(version),
    );
    body.extend_from_slice(head.as_bytes());
    for (index, object) in objects.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&represent(resource, object, form, true));
    }
    body.extend_from_slice(b"]}");
    Bytes::from(body)
}

/// Which part of a list, and as of when.
struct Page {
    at: Option<u64>,
    after: Option<Key>,
    limit: Option<usize>,
    continued: bool,
}

// === impl Page ===

impl Page {
    fn new(query: &Query, now: u64) -> Result<Self, Failure> {
        let limit = query.number::<usize>("limit")?.filter(|limit| *limit > 0);
        let wanted = query.number::<u64>("resourceVersion")?;
        let rule = query.get("resourceVersionMatch");
        if let Some(token) = query.get("continue") {
            if wanted.is_some_and(|wanted| wanted > 0) {
                return Err(Failure::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            let (at, after) = parse_token(token)
                .ok_or_else(|| Failure::bad_request("continue key is not valid"))?;
            return Ok(Self {
                at: Some(at),
                after: Some(after),
                limit,
                continued: true,
            });
        }
        let at = match (rule, wanted) {
            (None, None) => None,
            (Some("Exact"), Some(wanted)) if wanted > 0 => {
                newer(wanted, now)?;
                Some(wanted)
            }
            (None | Some("NotOlderThan"), Some(wanted)) => {
                newer(wanted, now)?;
                None
            }
            (Some(rule), wanted) => return Err(mismatch(rule, wanted)),
        };
        Ok(Self {
            at,
            after: None,
            limit,
            continued: false,
        })
    }

    fn expired(&self) -> Failure {
        if self.continued {
            Failure::expired(
                "The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.",
            )
        } else {
            Failure::expired("The resourceVersion for the provided list is too old.")
        }
    }
}

/// Why a `resourceVersionMatch` cannot be, beside this resourceVersion.
fn mismatch(rule: &str, wanted: Option<u64>) -> Failure {
    let field = "resourceVersionMatch";
    let error = match (rule, wanted) {
        (_, None) => FieldError::forbidden(
            field,
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        ("Exact", _) => FieldError::forbidden(
            field,
            "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
        ),
        _ => FieldError::not_supported(
            field,
            &json!(rule),
            &["Exact", "NotOlderThan", ""].map(|one| format!("{one:?}")),
        ),
    };
    Failure::options("ListOptions", error)
}

/// A resourceVersion that is still to come cannot be read.
fn newer(wanted: u64, now: u64) -> Result<(), Failure> {
    if wanted > now {
        return Err(Failure::too_large_version(wanted, now));
    }
    Ok(())
}

fn token(revision: u64, last: &Key) -> String {
    URL_SAFE_NO_PAD.encode(json!([revision, last.namespace, last.name]).to_string())
}

fn parse_token(token: &str) -> Option<(u64, Key)> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (revision, namespace, name): (u64, String, String) = serde_json::from_slice(&bytes).ok()?;
    Some((revision, Key::new(namespace, name)))
}

#[cfg(test)]
mod fuzz;
