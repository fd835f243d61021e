//! What waits in the events program is scaled for, and told.

use serde_json::{Value, json};

use crate::support::{FunctionSpec, Harness, Waiting, echo, until};

/// Goes to zero as soon as it may.
fn eager() -> Value {
    json!({ "window": "6s", "idleAfter": "1s", "max": 6 })
}

fn backlog(waiting: u32, running: u32) -> Value {
    json!([{ "namespace": "default", "name": "f", "waiting": waiting, "running": running }])
}

async fn harness(function: FunctionSpec, waiting: &Waiting) -> Harness {
    let events = waiting.authority.clone();
    Harness::with_options(&[function], |options| options.events = Some(events)).await
}

#[tokio::test]
async fn as_many_replicas_as_what_waits_needs_and_none_when_it_is_done() {
    let waiting = Waiting::of(backlog(40, 0)).await;
    let function = FunctionSpec::warm("f", echo())
        .template(json!({ "concurrency": 1 }))
        .scale(eager());
    let harness = harness(function, &waiting).await;
    harness.until_replicas("f-00001", 6).await;
    // The events program hears what can be made at once.
    until("it is told the places", async || {
        let told = json!([{ "namespace": "default", "name": "f", "places": 6, "queue": 1000 }]);
        waiting.rooms.lock().unwrap()["functions"] == told
    })
    .await;
    *waiting.functions.lock().unwrap() = json!([]);
    harness.until_replicas("f-00001", 0).await;
    // What waits wakes nothing by itself: the first call does, which comes as a request.
    *waiting.functions.lock().unwrap() = backlog(1, 0);
    until("it was asked again", async || {
        waiting.rooms.lock().unwrap()["functions"] != json!([])
    })
    .await;
    assert_eq!(
        harness.cluster.api.get("deployments", "f-00001").unwrap()["spec"]["replicas"],
        0
    );
    *waiting.functions.lock().unwrap() = backlog(40, 1);
    assert_eq!(harness.get("f", "/").await.status, 200);
    harness.until_replicas("f-00001", 6).await;
}

#[tokio::test]
async fn an_events_program_that_is_away_keeps_nothing_up() {
    let waiting = Waiting::of(backlog(40, 0)).await;
    let function = FunctionSpec::warm("f", echo())
        .template(json!({ "concurrency": 1 }))
        .scale(eager());
    let harness = harness(function, &waiting).await;
    harness.until_replicas("f-00001", 6).await;
    drop(waiting);
    harness.until_replicas("f-00001", 0).await;
    assert_eq!(harness.get("f", "/").await.status, 200);
}

#[tokio::test]
async fn what_is_being_made_counts_as_the_requests_that_it_is() {
    // All that may be made at once is being made: more replicas than the requests need would have nothing to do.
    let waiting = Waiting::of(backlog(100, 100)).await;
    let harness = harness(FunctionSpec::warm("f", echo()).scale(eager()), &waiting).await;
    until("it has said so", async || {
        !waiting.rooms.lock().unwrap().is_null()
    })
    .await;
    harness.until_replicas("f-00001", 0).await;
}

#[tokio::test]
async fn what_waits_is_written_into_the_status_and_goes_when_it_is_done() {
    let waiting = Waiting::of(json!([])).await;
    let harness = harness(FunctionSpec::cold("f", echo()), &waiting).await;
    let uid = harness.cluster.api.get("functions", "f").unwrap()["metadata"]["uid"].clone();
    harness.cluster.api.change("functions", "f", |function| {
        function["spec"]["triggers"] = json!([
            { "name": "orders", "topic": { "name": "orders" } },
            { "name": "never", "schedule": { "cron": "0 0 30 2 *" } },
        ]);
    });
    let standing = |uid: &Value| {
        let trigger = json!({ "name": "orders", "backlog": 7, "oldest": "2026-11-28T06:00:00Z", "lastError": "no database" });
        json!({ "complete": true, "functions": [
            { "namespace": "default", "name": "f", "uid": uid, "backlog": 9, "triggers": [trigger] },
        ]})
    };
    *waiting.standings.lock().unwrap() = standing(&uid);
    let status = || harness.cluster.api.get("functions", "f").unwrap()["status"].clone();
    until("it is written", async || status()["backlog"] == 9).await;
    let of = |name: &str| {
        let triggers = status()["triggers"].as_array().cloned().unwrap_or_default();
        triggers.into_iter().find(|trigger| trigger["name"] == name)
    };
    let orders = json!({ "name": "orders", "backlog": 7, "oldest": "2026-11-28T06:00:00Z", "lastError": "no database" });
    assert_eq!(of("orders"), Some(orders));
    // What is known of times is somebody else's, and stays.
    until("the schedule is told of", async || of("never").is_some()).await;

    // An earlier function of the name is none of its business.
    *waiting.standings.lock().unwrap() = standing(&json!("another"));
    until("nothing waits", async || {
        status().get("backlog").is_none_or(Value::is_null)
    })
    .await;
    until("the trigger has nothing", async || of("orders").is_none()).await;
    assert!(of("never").is_some());
}
