//! What the server does by itself: objects of deleted definitions go, old events go, quotas say
//! what is used.

use std::{sync::Arc, time::Duration};

use futures::future;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    api::Api,
    handlers::{commit, commit::DEFINITIONS, delete},
    kinds::{definition::FINALIZER, quota},
    status::Failure,
    store::{Expect, Key, Object, Put},
};

/// How long events are kept, as in Kubernetes.
const EVENT_LIFETIME: SignedDuration = SignedDuration::from_hours(1);

/// How many events are kept.
const MAX_EVENTS: usize = 10_000;

/// Between two looks at the age of events.
const EVENT_PERIOD: Duration = Duration::from_secs(60);

/// Between two looks at what did not go at once.
const RETRY: Duration = Duration::from_millis(500);

/// Runs until the API shuts down.
pub(crate) async fn run(api: Arc<Api>) {
    let all = future::join3(definitions(&api), events(&api), quotas(&api));
    tokio::select! {
        _ = all => {}
        () = api.shutdown.cancelled() => {}
    }
}

/// Finishes the deletion of definitions: first their objects, then themselves.
async fn definitions(api: &Api) {
    let storage = Arc::from(DEFINITIONS);
    let mut changed = api.store.subscribe(&storage);
    loop {
        changed.mark_unchanged();
        let leaving: Vec<(Key, Arc<Object>)> = api.store.view(|state| {
            state
                .scan(DEFINITIONS, None)
                .filter(|(_, one)| {
                    let value = one.value();
                    !value["metadata"]["deletionTimestamp"].is_null()
                        && finalizers(&value).any(|name| name == FINALIZER)
                })
                .map(|(key, one)| (key.clone(), Arc::clone(one)))
                .collect()
        });
        let mut waiting = false;
        for (key, definition) in leaving {
            match finalize(api, &key, &definition).await {
                Ok(done) => waiting |= !done,
                Err(failure) => {
                    tracing::warn!(definition = key.name, error = %failure, "cannot finish the deletion of a definition");
                    waiting = true;
                }
            }
        }
        let again = async {
            if waiting {
                tokio::time::sleep(RETRY).await;
            } else {
                future::pending::<()>().await;
            }
        };
        tokio::select! {
            result = changed.changed() => if result.is_err() { return },
            () = again => {}
        }
    }
}

fn finalizers(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
}

/// Deletes the objects of a definition; when all are gone, lets the definition go.
async fn finalize(api: &Api, key: &Key, definition: &Object) -> Result<bool, Failure> {
    let registry = api.registry.load_full();
    let resource = registry
        .all()
        .find(|one| one.custom.is_some() && *one.storage == *key.name);
    if let Some(resource) = resource
        && delete::delete_all(api, resource).await? > 0
    {
        return Ok(false);
    }
    let mut last = Value::clone(&definition.value());
    if let Some(finalizers) = last["metadata"]["finalizers"].as_array_mut() {
        finalizers.retain(|name| name != FINALIZER);
    }
    let over = finalizers(&last).next().is_none();
    let put = if over {
        Put::Remove(last)
    } else {
        Put::Store(last)
    };
    let Some(definitions) =
        registry.find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    else {
        return Ok(false);
    };
    let expect = Expect::Revision(definition.revision);
    match commit::store(api, definitions, key, expect, put, |_| Ok(())).await {
        Ok(_) => Ok(true),
        Err(error) => match commit::refusal(error) {
            Some(failure) => Err(failure),
            None => Ok(false),
        },
    }
}

/// Removes events that are old, and the oldest when there are too many.
async fn events(api: &Api) {
    let storage: Arc<str> = Arc::from("events");
    let mut period = tokio::time::interval(EVENT_PERIOD);
    loop {
        period.tick().await;
        let mut all: Vec<(u64, Key, Option<Timestamp>)> = api.store.view(|state| {
            state
                .scan("events", None)
                .map(|(key, event)| (event.revision, key.clone(), last_seen(&event.value())))
                .collect()
        });
        all.sort_by_key(|(revision, ..)| *revision);
        let surplus = all.len().saturating_sub(MAX_EVENTS);
        let now = Timestamp::now();
        for (index, (revision, key, seen)) in all.into_iter().enumerate() {
            let old = seen.is_none_or(|seen| now.duration_since(seen) > EVENT_LIFETIME);
            if index >= surplus && !old {
                continue;
            }
            let Some(event) = api.store.get("events", &key) else {
                continue;
            };
            let put = Put::Remove(Value::clone(&event.value()));
            let removed = api
                .store
                .write(&storage, &key, Expect::Revision(revision), put, |_| {
                    Ok::<(), Failure>(())
                })
                .await;
            if let Some(failure) = removed.err().and_then(commit::refusal) {
                tracing::warn!(error = %failure, "cannot remove an old event");
                break;
            }
        }
    }
}

/// When an event was last told of.
fn last_seen(event: &Value) -> Option<Timestamp> {
    let times = [
        &event["metadata"]["creationTimestamp"],
        &event["lastTimestamp"],
        &event["series"]["lastObservedTime"],
    ];
    let times = times
        .into_iter()
        .filter_map(|time| time.as_str()?.parse().ok());
    times.max()
}

/// Keeps the status of quotas up to what the pods use.
async fn quotas(api: &Api) {
    let (quota_storage, pod_storage) = (Arc::from("resourcequotas"), Arc::from("pods"));
    let mut quotas = api.store.subscribe(&quota_storage);
    let mut pods = api.store.subscribe(&pod_storage);
    loop {
        quotas.mark_unchanged();
        pods.mark_unchanged();
        let stale: Vec<(Key, u64, Value)> = api.store.view(|state| {
            state
                .scan("resourcequotas", None)
                .filter_map(|(key, object)| {
                    let pods = state
                        .scan("pods", Some(&key.namespace))
                        .map(|(_, pod)| pod.value());
                    let stored = object.value();
                    let mut value = Value::clone(&stored);
                    value["status"] = quota::status(&stored, pods);
                    (value != *stored).then(|| (key.clone(), object.revision, value))
                })
                .collect()
        });
        for (key, revision, value) in stale {
            let written = api
                .store
                .write(
                    &quota_storage,
                    &key,
                    Expect::Revision(revision),
                    Put::Store(value),
                    |_| Ok::<(), Failure>(()),
                )
                .await;
            if let Some(failure) = written.err().and_then(commit::refusal) {
                tracing::warn!(quota = key.name, error = %failure, "cannot write the status of a quota");
            }
        }
        tokio::select! {
            changed = quotas.changed() => if changed.is_err() { return },
            changed = pods.changed() => if changed.is_err() { return },
        }
    }
}
