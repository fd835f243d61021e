//! Deletion, of one object or many, and eviction.

use http::Response;
use serde_json::{Value, json};

use super::{
    disruption,
    read::{self, Filter, represent},
};
use crate::{
    api::Api,
    kinds::EVICTION,
    request::Call,
    resource::Resource,
    response::{self, Body},
    status::Failure,
    store::{Key, Object},
    write::{Done, Effect, deletion, options::DeleteOptions},
};

pub(crate) async fn delete(api: &Api, call: &Call) -> Result<Response<Body>, Failure> {
    let options = DeleteOptions::new(call)?;
    let resource = &call.target.resource;
    let key = call.target.key();
    let Done { object, effect } = deletion::delete(api, resource, &key, &options).await?;
    if effect == Effect::Removed && !resource.is("", "pods") {
        return Ok(response::value(200, &success(resource, &object)));
    }
    let body = represent(resource, &object, call.form, true);
    Ok(response::json(200, body))
}

pub(crate) async fn collection(api: &Api, call: &Call) -> Result<Response<Body>, Failure> {
    let options = DeleteOptions::new(call)?;
    let resource = &call.target.resource;
    if resource.namespaced && call.target.namespace.is_none() {
        return Err(Failure::method_not_allowed());
    }
    let filter = Filter::new(&call.target, &call.query)?;
    let listing = api
        .store
        .list(&resource.storage, filter.namespace.as_deref(), None)
        .map_err(|_| Failure::internal("a list of now cannot be too old"))?;
    let mut deleted = Vec::new();
    for (key, object) in listing.items {
        if !filter.matches(&key, &object) {
            continue;
        }
        match deletion::delete(api, resource, &key, &options).await {
            Ok(done) => deleted.push(done.object),
            // Gone by itself is as good.
            Err(failure) if failure.code == 404 => {}
            Err(failure) => return Err(failure),
        }
    }
    let metadata = json!({"resourceVersion": api.store.revision().to_string()});
    Ok(response::json(
        200,
        read::body(resource, &deleted, &metadata, call.form),
    ))
}

/// Evicts a pod: deletes it, unless a disruption budget forbids that.
pub(crate) async fn evict(api: &Api, call: &Call) -> Result<Response<Body>, Failure> {
    let body = EVICTION.decode(&call.body, call.content_type())?;
    let options = DeleteOptions::of_eviction(call, &body)?;
    let pod = read::find(api, &call.target)?;
    disruption::allows(api, &pod.read()?)?;
    let key = Key::of(&pod.value());
    deletion::delete(api, &call.target.resource, &key, &options).await?;
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    Ok(response::value(201, &status))
}

fn success(resource: &Resource, object: &Object) -> Value {
    let mut details = json!({
        "name": object.value()["metadata"]["name"],
        "kind": resource.plural,
        "uid": object.value()["metadata"]["uid"],
    });
    if !resource.group.is_empty() {
        details["group"] = resource.group.clone().into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
