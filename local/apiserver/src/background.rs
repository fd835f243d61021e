//! What the server does by itself: objects of deleted definitions go, old events go, quotas say
//! what is used.

use std::{sync::Arc, time::Duration};

use futures::future;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, Pod};
use serde_json::{Value, json};

use crate::{
    api::Api,
    kinds::{definition::FINALIZER, quota},
    resource::Resource,
    status::Failure,
    store::{Key, Object},
    write::{
        Decision, Effect, Place, definitions::DEFINITIONS, deletion, options::DeleteOptions,
        transact,
    },
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
        let leaving: Vec<Key> = api.store.view(|state| {
            state
                .scan(DEFINITIONS, None)
                .filter(|(_, one)| {
                    let value = one.value();
                    !value["metadata"]["deletionTimestamp"].is_null()
                        && finalizers(&value).any(|name| name == FINALIZER)
                })
                .map(|(key, _)| key.clone())
                .collect()
        });
        let mut waiting = false;
        for key in leaving {
            match finalize(api, &key).await {
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

/// Deletes the objects of a definition; when all are gone, lets the definition go. Says whether it has.
async fn finalize(api: &Api, key: &Key) -> Result<bool, Failure> {
    let registry = api.registry.load_full();
    let resource = registry
        .all()
        .find(|one| one.custom.is_some() && *one.storage == *key.name);
    if let Some(resource) = resource
        && delete_all(api, resource).await? > 0
    {
        return Ok(false);
    }
    let let_go = write(api, DEFINITIONS, key, |definition| {
        let definition = definition.value();
        let mut last = Value::clone(&definition);
        if let Some(finalizers) = last["metadata"]["finalizers"].as_array_mut() {
            finalizers.retain(|name| name != FINALIZER);
        }
        Ok(if definition["metadata"]["deletionTimestamp"].is_null() {
            Decision::Keep
        } else if finalizers(&last).next().is_none() {
            Decision::Remove(last)
        } else {
            Decision::Put(last)
        })
    });
    let_go.await.map(|()| true)
}

/// Deletes every object of a resource, as their definition goes. Returns how many stay until their
/// finalizers are gone.
async fn delete_all(api: &Api, resource: &Resource) -> Result<usize, Failure> {
    let listing = api
        .store
        .list(&resource.storage, None, None)
        .map_err(|_| Failure::internal("a list of now cannot be too old"))?;
    let mut staying = 0;
    for (key, _) in listing.items {
        match deletion::delete(api, resource, &key, &DeleteOptions::default()).await {
            Ok(done) if done.effect == Effect::Removed => {}
            Ok(_) => staying += 1,
            Err(failure) if failure.code == 404 => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(staying)
}

/// Looks at the events again and again.
async fn events(api: &Api) {
    let mut period = tokio::time::interval(EVENT_PERIOD);
    loop {
        period.tick().await;
        expire(api, Timestamp::now()).await;
    }
}

/// Removes events that are old, and the oldest when there are too many. One that is told again meanwhile stays.
async fn expire(api: &Api, now: Timestamp) {
    let mut all: Vec<(u64, Key, Option<Timestamp>)> = api.store.view(|state| {
        state
            .scan("events", None)
            .map(|(key, event)| {
                // What cannot be read is of no use to anybody, and goes as what is old does.
                let seen = event.read().ok().and_then(|event| last_seen(&event));
                (event.revision, key.clone(), seen)
            })
            .collect()
    });
    all.sort_by_key(|(revision, ..)| *revision);
    let surplus = all.len().saturating_sub(MAX_EVENTS);
    for (index, (revision, key, seen)) in all.into_iter().enumerate() {
        let old = seen.is_none_or(|seen| now.duration_since(seen) > EVENT_LIFETIME);
        if index >= surplus && !old {
            continue;
        }
        let removed = write(api, "events", &key, |event| {
            Ok(if event.revision == revision {
                Decision::Remove(Value::clone(&event.value()))
            } else {
                Decision::Keep
            })
        });
        if let Err(failure) = removed.await {
            tracing::warn!(error = %failure, "cannot remove an old event");
            return;
        }
    }
}

/// When an event was last told of.
fn last_seen(event: &Event) -> Option<Timestamp> {
    let created = event
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|time| time.0);
    let told = event.last_timestamp.as_ref().map(|time| time.0);
    let series = event.series.as_ref();
    let observed = series.and_then(|series| Some(series.last_observed_time.as_ref()?.0));
    created.max(told).max(observed)
}

/// Keeps the status of quotas up to what the pods use.
async fn quotas(api: &Api) {
    let (quota_storage, pod_storage) = (Arc::from("resourcequotas"), Arc::from("pods"));
    let mut quotas = api.store.subscribe(&quota_storage);
    let mut pods = api.store.subscribe(&pod_storage);
    loop {
        quotas.mark_unchanged();
        pods.mark_unchanged();
        let all: Vec<Key> = api.store.view(|state| {
            let quotas = state.scan("resourcequotas", None);
            quotas.map(|(key, _)| key.clone()).collect()
        });
        for key in all {
            let written = write(api, "resourcequotas", &key, |quota| {
                let status = api.store.view(|state| {
                    let pods = state.scan("pods", Some(&key.namespace));
                    let pods: Vec<Pod> =
                        pods.map(|(_, pod)| pod.read()).collect::<Result<_, _>>()?;
                    Ok(json!(quota::status(&quota.read()?, pods.iter())))
                })?;
                let quota = quota.value();
                if quota["status"] == status {
                    return Ok(Decision::Keep);
                }
                let mut new = Value::clone(&quota);
                new["status"] = status;
                Ok(Decision::Put(new))
            });
            if let Err(failure) = written.await {
                tracing::warn!(quota = key.name, error = %failure, "cannot write the status of a quota");
            }
        }
        tokio::select! {
            changed = quotas.changed() => if changed.is_err() { return },
            changed = pods.changed() => if changed.is_err() { return },
        }
    }
}

/// Changes one of the server's own objects, if it is still there.
async fn write(
    api: &Api,
    storage: &str,
    key: &Key,
    decide: impl Fn(&Object) -> Result<Decision, Failure>,
) -> Result<(), Failure> {
    let registry = api.registry.load_full();
    let resource = registry
        .all()
        .find(|one| *one.storage == *storage && one.api_version() == one.stored_version)
        .ok_or_else(|| Failure::internal(format!("{storage} are not served")))?;
    let place = Place::Named(key.clone());
    let written = transact(api, resource, &place, false, |_, current| {
        let current = current.ok_or_else(|| resource.not_found(&key.name))?;
        decide(current)
    });
    match written.await {
        Err(failure) if failure.code == 404 => Ok(()),
        written => written.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::store::{Expect, Put};

    async fn told(api: &Api, name: &str, event: Value) {
        let (storage, key) = (Arc::from("events"), Key::new("default", name));
        let put = Put::Store(event);
        let agreed = |_: &_, _: &_| Ok::<(), Infallible>(());
        let written = api.store.write(&storage, &key, Expect::Absent, put, agreed);
        written.await.expect("written");
    }

    #[tokio::test]
    async fn events_go_an_hour_after_they_were_told_last() {
        let api = Api::empty();
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().expect("a time");
        let (old, new) = ("2026-01-01T10:59:59Z", "2026-01-01T11:00:01Z");
        let event = |created: &str| json!({"metadata": {"creationTimestamp": created}});
        told(&api, "old", event(old)).await;
        told(&api, "new", event(new)).await;
        let mut again = event(old);
        again["lastTimestamp"] = new.into();
        told(&api, "told-again", again).await;
        let mut series = event(old);
        series["series"] = json!({"lastObservedTime": "2026-01-01T11:00:01.000000Z"});
        told(&api, "series", series).await;
        told(&api, "of-no-time", json!({"metadata": {}})).await;
        expire(&api, now).await;
        let left: Vec<String> = api.store.view(|state| {
            let events = state.scan("events", None);
            events.map(|(key, _)| key.name.clone()).collect()
        });
        assert_eq!(left, ["new", "series", "told-again"]);
    }
}
