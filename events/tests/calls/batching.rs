//! Messages that a function gets together.

use fermata_crds::{Subscription, topic};

use super::{
    gateway::{Asked, Gateway, answer},
    *,
};

/// Delivered to one trigger, so many at once.
fn subscription(size: u32, wait: &str, attempts: u32) -> Subscription {
    serde_json::from_value(json!({
        "function": "bills", "uid": "u", "trigger": "orders", "path": "/in?x=1",
        "batch": {"size": size, "wait": wait}, "delivery": at_once(attempts),
    }))
    .unwrap()
}

async fn publish(kept: &Kept, subscription: &Subscription, events: &[Value]) {
    let framed = topic::frame([subscription]).unwrap();
    let request = kept
        .request("POST", "/topics/shop/orders")
        .header("content-type", "application/cloudevents-batch+json");
    let told = kept
        .ask(request, &(framed + &json!(events).to_string()))
        .await;
    assert_eq!(told.status, 202, "{told:?}");
}

fn event(id: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "source": "/test", "type": "order", "id": id, "data": data})
}

fn events(asked: &Asked) -> Vec<Value> {
    serde_json::from_slice(&asked.body).unwrap()
}

/// The ids of what came, request by request, once there are so many in all.
async fn ids(gateway: &Gateway, count: usize) -> Vec<Vec<String>> {
    eventually(async || {
        let asked = gateway.asked();
        let ids: Vec<Vec<String>> = asked
            .iter()
            .map(|asked| {
                let events = events(asked).into_iter();
                events
                    .map(|event| event["id"].as_str().unwrap().to_owned())
                    .collect()
            })
            .collect();
        match ids.iter().map(Vec::len).sum::<usize>() {
            found if found >= count => Ok(ids),
            found => Err(format!("{found} of {count}")),
        }
    })
    .await
}

#[tokio::test]
async fn so_many_come_in_one_request_as_they_were_published() {
    let gateway = Gateway::answering(|_| answer(200, "")).await;
    let kept = Kept::start(&gateway, None).await;
    let four = subscription(4, "1h", 1);
    let traced = kept
        .request("POST", "/topics/shop/orders")
        .header("ce-specversion", "1.0")
        .header("ce-id", "1")
        .header("ce-source", "/test")
        .header("ce-type", "Bestellung%20%C3%BC")
        .header("content-type", "text/plain")
        .header("traceparent", "00-1-2-01");
    let framed = topic::frame([&four]).unwrap();
    let told = kept.ask(traced, &(framed + "grüße")).await;
    assert_eq!(told.status, 202, "{told:?}");
    publish(
        &kept,
        &four,
        &[
            event("2", json!({"item": 7})),
            json!({
                "specversion": "1.0", "source": "/test", "type": "order", "id": "3",
                "datacontenttype": "image/png", "data_base64": "/w==",
            }),
            json!({"specversion": "1.0", "source": "/test", "type": "order", "id": "4"}),
        ],
    )
    .await;
    ids(&gateway, 4).await;
    let asked = gateway.asked();
    assert_eq!(asked.len(), 1);
    let head = &asked[0].head;
    assert_eq!(
        (head.method.as_str(), head.uri.to_string()),
        ("POST", "/in?x=1".to_owned())
    );
    for (name, value) in [
        ("content-type", "application/cloudevents-batch+json"),
        ("host", "bills.shop.svc"),
        ("x-fermata-function-uid", "u"),
        ("x-fermata-attempt", "1"),
    ] {
        assert_eq!(head.headers[name], value, "{name}");
    }
    let mut events = events(&asked[0]);
    events.sort_by_key(|event| event["id"].to_string());
    assert_eq!(events[0]["data"], "grüße");
    assert_eq!(events[0]["type"], "Bestellung ü");
    assert_eq!(events[0]["traceparent"], "00-1-2-01");
    assert_eq!(events[1]["data"], json!({"item": 7}));
    assert_eq!(events[2]["data_base64"], "/w==");
    assert!(events[3].get("data").is_none(), "{}", events[3]);
    kept.end().await;
}

#[tokio::test]
async fn those_that_the_function_names_come_again_alone() {
    let gateway = Gateway::answering(|asked| match asked.before {
        0 => answer(200, r#"{"failed": ["2", "3"]}"#),
        1 => answer(200, r#"{"failed": ["3"]}"#),
        _ => answer(200, r#"{"failed": []}"#),
    })
    .await;
    let kept = Kept::start(&gateway, None).await;
    let all: Vec<Value> = ["1", "2", "3", "4"].map(|id| event(id, json!(id))).into();
    publish(&kept, &subscription(4, "100ms", 5), &all).await;
    let mut came = ids(&gateway, 7).await;
    for ids in &mut came {
        ids.sort();
    }
    assert_eq!(came, [vec!["1", "2", "3", "4"], vec!["2", "3"], vec!["3"]]);
    kept.end().await;
}

#[tokio::test]
async fn when_it_fails_or_names_what_it_did_not_get_all_come_again() {
    for (status, body) in [
        (500, "no"),
        (200, r#"{"failed": ["9"]}"#),
        (200, r#"{"failed": [1]}"#),
        (200, r#"{"failed": null}"#),
    ] {
        let gateway = Gateway::answering(move |asked| match asked.before {
            0 => answer(status, body),
            _ => answer(204, ""),
        })
        .await;
        let kept = Kept::start(&gateway, None).await;
        let all = [event("1", json!(1)), event("2", json!(2))];
        publish(&kept, &subscription(2, "1s", 5), &all).await;
        let came = ids(&gateway, 4).await;
        assert_eq!(came.len(), 2, "{came:?}");
        kept.end().await;
    }
}

#[tokio::test]
async fn what_is_too_large_for_one_request_comes_in_several() {
    let gateway = Gateway::answering(|_| answer(200, "")).await;
    let kept = Kept::with(&gateway, None, |options| options.max_body_bytes = 8192).await;
    let large = "x".repeat(5000);
    for id in ["1", "2", "3"] {
        let all = [event(id, json!(large))];
        publish(&kept, &subscription(3, "1h", 1), &all).await;
    }
    let came = ids(&gateway, 3).await;
    // Those that are left over do not wait for others again.
    assert!(came.iter().all(|ids| ids.len() == 1), "{came:?}");
    kept.end().await;
}
