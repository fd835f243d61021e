//! Deletion: at once, or marked and left to whoever has to clean up first.

use std::sync::Arc;

use http::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    commit, disruption,
    read::{self, Filter, represent},
};
use crate::{
    api::{Api, Call},
    clock,
    decode::typed::{self, EVICTION},
    resource::Resource,
    response::{self, Body},
    status::{Failure, FieldError},
    store::{Expect, Key, Object, Put},
};

/// How often a deletion is tried again because somebody else was quicker.
const MAX_TRIES: usize = 8;

fn refuse(error: FieldError) -> Failure {
    Failure::options("DeleteOptions", error)
}

/// `DeleteOptions` of a request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    #[serde(default)]
    grace_period_seconds: Option<i64>,
    #[serde(default)]
    propagation_policy: Option<String>,
    #[serde(default)]
    orphan_dependents: Option<bool>,
    #[serde(default)]
    preconditions: Option<Preconditions>,
    #[serde(default)]
    dry_run: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Preconditions {
    #[serde(default)]
    uid: Option<String>,
    #[serde(default)]
    resource_version: Option<String>,
}

/// What a deletion did.
enum Outcome {
    /// The object is gone; this was its last state.
    Gone(Arc<Object>),
    /// The object is marked and stays until others are done with it.
    Marked(Arc<Object>),
}

// === impl Options ===

impl Options {
    fn new(call: &Call) -> Result<Self, Failure> {
        let content_type = call.content_type();
        let mut options: Self = typed::options(&call.body, content_type)?;
        if let Some(grace) = call.query.number("gracePeriodSeconds")? {
            options.grace_period_seconds = Some(grace);
        }
        if let Some(policy) = call.query.get("propagationPolicy") {
            options.propagation_policy = Some(policy.to_owned());
        }
        if call.query.get("orphanDependents").is_some() {
            options.orphan_dependents = Some(call.query.flag("orphanDependents"));
        }
        let given = options.dry_run.iter().flatten().map(String::as_str);
        if commit::dry_run(given.chain(call.query.all("dryRun"))).map_err(refuse)? {
            options.dry_run = Some(vec!["All".to_owned()]);
        }
        if let Some(policy) = options.propagation_policy.as_deref()
            && !matches!(policy, "Foreground" | "Background" | "Orphan")
        {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            let error = FieldError::not_supported(
                "propagationPolicy",
                &json!(policy),
                &supported.map(|one| format!("{one:?}")),
            );
            return Err(refuse(error));
        }
        Ok(options)
    }

    fn tries(&self) -> bool {
        self.dry_run.as_ref().is_some_and(|given| !given.is_empty())
    }

    fn check(&self, resource: &Resource, name: &str, object: &Object) -> Result<(), Failure> {
        let Some(wanted) = &self.preconditions else {
            return Ok(());
        };
        let unlike = |why| Failure::conflict(&resource.group, &resource.kind, name, why);
        let value = object.value();
        let had = value["metadata"]["uid"].as_str().unwrap_or_default();
        if let Some(uid) = wanted.uid.as_deref().filter(|uid| *uid != had) {
            return Err(unlike(format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({had}). The object might have been deleted and then recreated"
            )));
        }
        let had = object.revision.to_string();
        if let Some(version) = wanted
            .resource_version
            .as_deref()
            .filter(|version| *version != had)
        {
            return Err(unlike(format!(
                "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({had}). The object might have been modified"
            )));
        }
        Ok(())
    }
}

pub(crate) async fn delete(api: &Api, call: &Call) -> Result<Response<Body>, Failure> {
    let options = Options::new(call)?;
    let resource = &call.target.resource;
    let name = call.target.name.clone().unwrap_or_default();
    let key = Key::new(call.target.namespace.clone().unwrap_or_default(), name);
    match delete_object(api, resource, &key, &options).await? {
        Outcome::Gone(object) if !resource.is("", "pods") => {
            Ok(response::value(200, &success(resource, &object)))
        }
        Outcome::Gone(object) | Outcome::Marked(object) => {
            let body = represent(resource, &object, call.form, true);
            Ok(response::json(200, body))
        }
    }
}

pub(crate) async fn collection(api: &Api, call: &Call) -> Result<Response<Body>, Failure> {
    let options = Options::new(call)?;
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
        match delete_object(api, resource, &key, &options).await {
            Ok(Outcome::Gone(object) | Outcome::Marked(object)) => deleted.push(object),
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
    let mut options: Options = match &body["deleteOptions"] {
        Value::Null => Options::default(),
        given => serde_json::from_value(given.clone()).map_err(|error| {
            Failure::bad_request(format!("error decoding deleteOptions: {error}"))
        })?,
    };
    let given = options.dry_run.iter().flatten().map(String::as_str);
    if commit::dry_run(given.chain(call.query.all("dryRun"))).map_err(refuse)? {
        options.dry_run = Some(vec!["All".to_owned()]);
    }
    let pod = read::find(api, &call.target)?;
    disruption::allows(api, &pod.value())?;
    let key = Key::of(&pod.value());
    delete_object(api, &call.target.resource, &key, &options).await?;
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    Ok(response::value(201, &status))
}

/// Deletes every object of a resource, as their definition goes. Returns how many stay until their
/// finalizers are gone.
pub(crate) async fn delete_all(api: &Api, resource: &Resource) -> Result<usize, Failure> {
    let listing = api
        .store
        .list(&resource.storage, None, None)
        .map_err(|_| Failure::internal("a list of now cannot be too old"))?;
    let mut staying = 0;
    for (key, _) in listing.items {
        match delete_object(api, resource, &key, &Options::default()).await {
            Ok(Outcome::Gone(_)) => {}
            Ok(Outcome::Marked(_)) => staying += 1,
            Err(failure) if failure.code == 404 => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(staying)
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

async fn delete_object(
    api: &Api,
    resource: &Resource,
    key: &Key,
    options: &Options,
) -> Result<Outcome, Failure> {
    for _ in 0..MAX_TRIES {
        let current = api
            .store
            .get(&resource.storage, key)
            .ok_or_else(|| resource.not_found(&key.name))?;
        options.check(resource, &key.name, &current)?;
        if resource.is("", "namespaces")
            && matches!(key.name.as_str(), "default" | "kube-system" | "kube-public")
        {
            return Err(resource.forbidden(&key.name, "this namespace may not be deleted"));
        }
        let (put, gone) = match decide(resource, &current.value(), options) {
            None => return Ok(Outcome::Marked(current)),
            Some(marked) if super::update::is_over(&marked) => (Put::Remove(marked), true),
            Some(marked) => (Put::Store(marked), false),
        };
        let outcome = |object| {
            if gone {
                Outcome::Gone(object)
            } else {
                Outcome::Marked(object)
            }
        };
        if options.tries() {
            let (Put::Store(value) | Put::Remove(value)) = put;
            return Ok(outcome(Arc::new(Object::unstored(&value))));
        }
        let expect = Expect::Revision(current.revision);
        match commit::store(api, resource, key, expect, put, |_| Ok(())).await {
            Ok(object) => return Ok(outcome(object)),
            Err(error) => {
                if let Some(failure) = commit::refusal(error) {
                    return Err(failure);
                }
            }
        }
    }
    Err(resource.modified(&key.name))
}

/// The object as it is marked for deletion; `None` when it is marked well enough already.
fn decide(resource: &Resource, object: &Value, options: &Options) -> Option<Value> {
    let mut marked = object.clone();
    propagate(&mut marked, options);
    let before = object["metadata"]["deletionGracePeriodSeconds"].as_i64();
    let grace = grace(resource, object, options);
    let metadata = &mut marked["metadata"];
    match before {
        // A second deletion can only make it quicker.
        Some(before) if grace >= before => {}
        _ => {
            metadata["deletionGracePeriodSeconds"] = grace.into();
            metadata["deletionTimestamp"] = clock::after(grace).into();
            if before.is_none()
                && let Some(generation) = metadata["generation"].as_i64()
            {
                metadata["generation"] = (generation + 1).into();
            }
        }
    }
    if resource.is("", "namespaces") {
        marked["status"]["phase"] = "Terminating".into();
    }
    (marked != *object || super::update::is_over(&marked)).then_some(marked)
}

/// How long an object has until it must be gone. Only pods have time: when they run somewhere and
/// are not finished.
fn grace(resource: &Resource, object: &Value, options: &Options) -> i64 {
    if !resource.is("", "pods") {
        return 0;
    }
    let phase = object["status"]["phase"].as_str().unwrap_or_default();
    let bound = object["spec"]["nodeName"]
        .as_str()
        .is_some_and(|node| !node.is_empty());
    if !bound || matches!(phase, "Succeeded" | "Failed") {
        return 0;
    }
    let wanted = options
        .grace_period_seconds
        .or_else(|| object["spec"]["terminationGracePeriodSeconds"].as_i64())
        .unwrap_or(30);
    if wanted < 0 { 1 } else { wanted }
}

/// Marks what becomes of the dependents, for the garbage collector.
fn propagate(object: &mut Value, options: &Options) {
    let policy = match (
        options.propagation_policy.as_deref(),
        options.orphan_dependents,
    ) {
        (Some(policy), _) => policy,
        (None, Some(true)) => "Orphan",
        (None, Some(false)) => "Background",
        (None, None) => return,
    };
    let wanted = match policy {
        "Orphan" => Some("orphan"),
        "Foreground" => Some("foregroundDeletion"),
        _ => None,
    };
    let metadata = &mut object["metadata"];
    let mut finalizers = metadata["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    finalizers.retain(|one| one != "orphan" && one != "foregroundDeletion");
    finalizers.extend(wanted.map(Value::from));
    if finalizers.is_empty() {
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove("finalizers");
        }
    } else {
        metadata["finalizers"] = finalizers.into();
    }
}
