//! Messages of one key, delivered one after the other.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use fermata_crds::{Subscription, topic};

use super::{
    gateway::{Gateway, answer},
    *,
};

/// By keys: how many are being delivered, and what was delivered.
type Seen = Arc<Mutex<BTreeMap<String, (usize, Vec<String>)>>>;

/// A function that takes its time, fails once at "flaky" and always at "bad", and has to be asked one by one.
async fn hearer(seen: &Seen) -> Gateway {
    let seen = seen.clone();
    Gateway::start(move |asked| {
        let seen = seen.clone();
        Box::pin(async move {
            let headers = &asked.head.headers;
            let text = |name: &str| headers[name].to_str().unwrap().to_owned();
            let (key, id) = (text("ce-partitionkey"), text("ce-id"));
            {
                let mut seen = seen.lock().unwrap();
                let (running, _) = seen.entry(key.clone()).or_default();
                *running += 1;
                assert_eq!(*running, 1, "two of {key} at once");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            let first = text("x-fermata-attempt") == "1";
            let status = match &*asked.body {
                b"flaky" if first => 500,
                b"bad" => 422,
                _ => 200,
            };
            let mut seen = seen.lock().unwrap();
            let (running, delivered) = seen.entry(key).or_default();
            *running -= 1;
            if status == 200 {
                delivered.push(id);
            }
            answer(status, "")
        })
    })
    .await
}

async fn publish(kept: &Kept, id: &str, key: &str, data: &str) {
    let subscription: Subscription = serde_json::from_value(json!({
        "function": "bills", "uid": "u", "trigger": "orders", "path": "/", "order": "Key",
        "delivery": at_once(3),
    }))
    .unwrap();
    let framed = topic::frame([&subscription]).unwrap();
    let request = kept
        .request("POST", "/topics/shop/orders")
        .header("ce-specversion", "1.0")
        .header("ce-source", "/test")
        .header("ce-type", "order")
        .header("ce-partitionkey", key)
        .header("ce-id", id);
    let told = kept.ask(request, &(framed + data)).await;
    assert_eq!(told.status, 202, "{told:?}");
}

/// Waits until all that was delivered is this.
async fn delivered(seen: &Seen, expected: &[(&str, &[&str])]) {
    eventually(async || {
        let seen = seen.lock().unwrap();
        let all = expected.iter().all(|(key, ids)| {
            let found = seen.get(*key).map(|(_, delivered)| delivered);
            found.is_some_and(|delivered| delivered == ids)
        });
        if all {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn those_of_a_key_come_as_they_were_published_whatever_fails() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("calls.redb");
    let seen = Seen::default();
    let gateway = hearer(&seen).await;
    let kept = Kept::start(&gateway, Some(&store)).await;
    for id in 0..8 {
        let data = match id {
            2 => "flaky",
            4 => "bad",
            _ => "good",
        };
        for key in ["a", "b", "c"] {
            publish(&kept, &format!("{key}{id}"), key, data).await;
        }
    }
    let of = |key: &str| [0, 1, 2, 3, 5, 6, 7].map(|id| format!("{key}{id}"));
    let (a, b, c) = (of("a"), of("b"), of("c"));
    let all = [&a, &b, &c].map(|ids| ids.iter().map(String::as_str).collect::<Vec<_>>());
    delivered(&seen, &[("a", &all[0]), ("b", &all[1]), ("c", &all[2])]).await;
    kept.crash().await;
}

#[tokio::test]
async fn after_a_crash_they_go_on_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("calls.redb");
    // Nobody is there to take them.
    let nobody = Gateway::answering(|_| {
        let mut answer = answer(503, "");
        let headers = answer.headers_mut();
        headers.insert("x-fermata-reason", "StartFailed".parse().unwrap());
        answer
    })
    .await;
    let kept = Kept::start(&nobody, Some(&store)).await;
    let ids: Vec<String> = (10..40).map(|id| id.to_string()).collect();
    for id in &ids {
        publish(&kept, id, "a", "good").await;
    }
    kept.crash().await;
    let seen = Seen::default();
    let gateway = hearer(&seen).await;
    let kept = Kept::start(&gateway, Some(&store)).await;
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    delivered(&seen, &[("a", &ids)]).await;
    kept.end().await;
}
