//! Messages of topics.

use std::collections::BTreeMap;

use fermata_crds::{Subscription, topic};

use super::{
    gateway::{Asked, Gateway, answer},
    *,
};

fn heard(function: &str, filter: &[(&str, &str)]) -> Subscription {
    let filter: BTreeMap<_, _> = filter.iter().copied().collect();
    let subscription = json!({
        "function": function, "uid": format!("uid-of-{function}"), "trigger": "orders",
        "path": format!("/{function}?a=b"), "filter": filter, "delivery": at_once(2),
    });
    serde_json::from_value(subscription).unwrap()
}

impl Kept {
    fn message(&self) -> http::request::Builder {
        self.request("POST", "/topics/shop/orders")
    }

    async fn publish(
        &self,
        subscriptions: &[Subscription],
        request: http::request::Builder,
        message: &str,
    ) -> Answer {
        let framed = topic::frame(subscriptions).unwrap();
        self.ask(request, &(framed + message)).await
    }
}

/// What the gateway was asked, once there is so much of it, by function.
async fn delivered(gateway: &Gateway, count: usize) -> Vec<Asked> {
    let mut asked = eventually(async || {
        let asked = gateway.asked();
        if asked.len() >= count {
            Ok(asked)
        } else {
            Err(format!("{} of {count}", asked.len()))
        }
    })
    .await;
    assert_eq!(asked.len(), count);
    asked.sort_by_key(|asked| asked.head.uri.to_string());
    asked
}

#[tokio::test]
async fn a_message_goes_to_everybody_who_hears_it() {
    let gateway = Gateway::answering(|_| answer(200, "")).await;
    let kept = Kept::start(&gateway, None).await;
    let subscriptions = [
        heard("bills", &[]),
        heard("mails", &[("type", "order.*")]),
        heard("returns", &[("type", "return")]),
    ];
    let request = kept
        .message()
        .header("ce-specversion", "1.0")
        .header("ce-id", "7")
        .header("ce-source", "/web")
        .header("ce-type", "order.created")
        .header("content-type", "application/json")
        .header("traceparent", "00-1-2-01")
        .header("authorization", "Bearer secret")
        .header("cookie", "secret");
    let told = kept.publish(&subscriptions, request, "{\"item\": 7}").await;
    assert_eq!(told.status, 202, "{told:?}");
    assert_eq!(
        told.json(),
        json!({"ids": ["7"], "deliveries": 2, "duplicates": 0})
    );
    let asked = delivered(&gateway, 2).await;
    for (asked, function) in asked.iter().zip(["bills", "mails"]) {
        let (head, body) = (&asked.head, &asked.body);
        assert_eq!(
            (head.method.as_str(), &**body),
            ("POST", &b"{\"item\": 7}"[..])
        );
        assert_eq!(head.uri.to_string(), format!("/{function}?a=b"));
        for (name, value) in [
            ("host", format!("{function}.shop.svc")),
            ("x-fermata-function-uid", format!("uid-of-{function}")),
            ("ce-id", "7".to_owned()),
            ("ce-type", "order.created".to_owned()),
            ("content-type", "application/json".to_owned()),
            ("traceparent", "00-1-2-01".to_owned()),
        ] {
            assert_eq!(head.headers[name], value, "{name}");
        }
        // What the publisher shows of itself is not for them.
        for name in ["authorization", "cookie"] {
            assert!(!head.headers.contains_key(name), "{name}");
        }
        let id = head.headers["x-fermata-invocation"].to_str().unwrap();
        let state = kept.over(id).await;
        assert_eq!(
            (&state["topic"], &state["trigger"], &state["state"]),
            (&json!("orders"), &json!("orders"), &json!("Succeeded"))
        );
    }
    kept.end().await;
}

#[tokio::test]
async fn one_that_fails_delays_nobody_else_and_is_tried_again_alone() {
    let gateway = Gateway::answering(|asked| {
        let mails = asked.head.uri.path() == "/mails";
        answer(if mails { 500 } else { 200 }, "no")
    })
    .await;
    let kept = Kept::start(&gateway, None).await;
    let both = [heard("bills", &[]), heard("mails", &[])];
    let told = kept.publish(&both, kept.message(), "seven").await;
    assert_eq!(told.json()["deliveries"], 2, "{told:?}");
    let asked = delivered(&gateway, 3).await;
    let paths: Vec<_> = asked.iter().map(|asked| asked.head.uri.path()).collect();
    assert_eq!(paths, ["/bills", "/mails", "/mails"]);
    let id = asked[2].head.headers["x-fermata-invocation"].clone();
    assert_eq!(kept.over(id.to_str().unwrap()).await["state"], "Failed");
    kept.end().await;
}

#[tokio::test]
async fn the_same_message_is_delivered_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("calls.redb");
    let gateway = Gateway::answering(|_| answer(200, "")).await;
    let kept = Kept::start(&gateway, Some(&store)).await;
    let event = |kept: &Kept, id: &str| {
        kept.message()
            .header("ce-specversion", "1.0")
            .header("ce-id", id)
            .header("ce-source", "/web")
            .header("ce-type", "order")
    };
    let bills = [heard("bills", &[])];
    let both = [heard("bills", &[]), heard("mails", &[])];
    let counts = |told: Answer| {
        assert_eq!(told.status, 202, "{told:?}");
        let told = told.json();
        (told["deliveries"].clone(), told["duplicates"].clone())
    };
    let told = kept.publish(&bills, event(&kept, "7"), "a").await;
    assert_eq!(counts(told), (json!(1), json!(0)));
    kept.crash().await;
    let kept = Kept::start(&gateway, Some(&store)).await;
    // Who hears it from now on gets it too.
    let told = kept.publish(&both, event(&kept, "7"), "a").await;
    assert_eq!(counts(told), (json!(1), json!(1)));
    // Where it is delivered makes no difference.
    let moved = [Subscription {
        path: "/elsewhere".into(),
        ..heard("bills", &[])
    }];
    let told = kept.publish(&moved, event(&kept, "7"), "a").await;
    assert_eq!(counts(told), (json!(0), json!(1)));
    let other = kept.publish(&both, event(&kept, "7"), "b").await;
    assert_eq!(other.status, 422, "{other:?}");
    assert_eq!(other.json()["reason"], "EventIdReused");
    // Another publisher has other names.
    let another = event(&kept, "7").header("x-fermata-publisher", "other");
    let told = kept.publish(&bills, another, "b").await;
    assert_eq!(counts(told), (json!(1), json!(0)));
    // What has no name is another message each time, unless its publisher says so.
    for (key, expected) in [(None, 1), (None, 1), (Some("k"), 1), (Some("k"), 0)] {
        let mut message = kept.message();
        if let Some(key) = key {
            message = message.header("idempotency-key", key);
        }
        let told = kept.publish(&bills, message, "c").await;
        assert_eq!(counts(told).0, json!(expected), "{key:?}");
    }
    kept.end().await;
}

#[tokio::test]
async fn a_batch_is_kept_as_a_whole_or_not() {
    let gateway = Gateway::answering(|_| answer(200, "")).await;
    let kept = Kept::start(&gateway, None).await;
    let event =
        |id: &str| json!({"specversion": "1.0", "id": id, "source": "/", "type": "t", "data": id});
    let batch = || {
        kept.message()
            .header("content-type", "application/cloudevents-batch+json")
    };
    let bills = [heard("bills", &[])];
    for (events, status) in [
        (json!([event("1"), event("1")]), 400),
        (json!([event("1"), event("")]), 400),
        (json!([event("1"), event("2")]), 202),
    ] {
        let told = kept.publish(&bills, batch(), &events.to_string()).await;
        assert_eq!(told.status, status, "{told:?}");
    }
    let asked = delivered(&gateway, 2).await;
    let mut bodies: Vec<_> = asked.iter().map(|asked| asked.body.clone()).collect();
    bodies.sort();
    assert_eq!(bodies, ["\"1\"", "\"2\""]);
    kept.end().await;
}

#[tokio::test]
async fn nothing_of_it_is_kept_when_there_is_no_room_or_nobody_said_who_hears_it() {
    let gateway = Gateway::answering(|_| answer(500, "")).await;
    let kept = Kept::with(&gateway, None, |options| {
        options.max_calls = 3;
        options.max_body_bytes = 1000;
    })
    .await;
    let waits = |function: &str| Subscription {
        delivery: serde_json::from_value(
            json!({"attempts": 100, "backoff": {"first": "1h", "max": "1h"}}),
        )
        .unwrap(),
        ..heard(function, &[])
    };
    let (two, three) = (
        [waits("a"), waits("b")],
        [waits("a"), waits("b"), waits("c")],
    );
    let told = kept.publish(&two, kept.message(), "x").await;
    assert_eq!(told.status, 202, "{told:?}");
    let refused = kept.publish(&two, kept.message(), "x").await;
    assert_eq!(refused.status, 507, "{refused:?}");
    assert_eq!(refused.headers["retry-after"], "10");
    // Nothing of the room for three is used up by what was not kept.
    let told = kept.publish(&three[2..], kept.message(), "x").await;
    assert_eq!(told.status, 202, "{told:?}");
    let large = kept.publish(&two, kept.message(), &"x".repeat(1001)).await;
    assert_eq!(large.status, 413, "{large:?}");
    let none = kept.publish(&[], kept.message(), "x").await;
    assert_eq!(none.json()["deliveries"], 0, "{none:?}");
    for body in ["", "x", "99\n[]"] {
        let refused = kept.ask(kept.message(), body).await;
        assert_eq!(refused.status, 400, "{refused:?}");
    }
    let asked = delivered(&gateway, 3).await;
    assert_eq!(asked.len(), 3);
    kept.end().await;
}

fn passes_on(function: &str) -> Subscription {
    Subscription {
        output: Some("bills".into()),
        ..heard(function, &[])
    }
}

#[tokio::test]
async fn what_is_answered_to_a_message_is_published() {
    let gateway = Gateway::answering(|asked| match asked.head.uri.path() {
        "/topics/bills.shop" => answer(202, "{}"),
        "/silent" => answer(204, ""),
        _ => {
            let mut said = answer(200, "paid 7");
            let headers = said.headers_mut();
            headers.insert("content-type", "text/plain".parse().unwrap());
            headers.insert("ce-type", "bill".parse().unwrap());
            headers.insert("x-a", "1".parse().unwrap());
            said
        }
    })
    .await;
    let kept = Kept::start(&gateway, None).await;
    let message = kept
        .message()
        .header("traceparent", "00-1-2-01")
        .header("x-fermata-hops", "3");
    let both = [passes_on("orders"), passes_on("silent")];
    let told = kept.publish(&both, message, "seven").await;
    assert_eq!(told.json()["deliveries"], 2, "{told:?}");
    let asked = delivered(&gateway, 3).await;
    let paths: Vec<_> = asked.iter().map(|asked| asked.head.uri.path()).collect();
    assert_eq!(paths, ["/orders", "/silent", "/topics/bills.shop"]);
    let id = asked[0].head.headers["x-fermata-invocation"].clone();
    let (head, body) = (&asked[2].head, &asked[2].body);
    assert_eq!((head.method.as_str(), &**body), ("POST", &b"paid 7"[..]));
    for (name, value) in [
        ("content-type", "text/plain"),
        ("ce-specversion", "1.0"),
        ("ce-source", "/namespaces/shop/functions/orders"),
        ("ce-type", "bill"),
        ("idempotency-key", id.to_str().unwrap()),
        ("traceparent", "00-1-2-01"),
        ("x-fermata-hops", "4"),
    ] {
        assert_eq!(head.headers[name], value, "{name}");
    }
    assert!(!head.headers.contains_key("x-a"));
    // The id of the delivery is the key to what was answered.
    let name = head.headers["ce-id"].to_str().unwrap();
    assert!(name.len() == 32 && name != id, "{name}");
    assert_eq!(kept.over(id.to_str().unwrap()).await["state"], "Succeeded");
    kept.end().await;
}

#[tokio::test]
async fn a_message_is_not_done_before_its_answer_is_published() {
    let gateway = Gateway::answering(|asked| match (asked.head.uri.path(), asked.before) {
        ("/topics/bills.shop", 0..=1) => answer(507, "full"),
        ("/topics/bills.shop", _) => answer(400, "no event"),
        _ => answer(200, "paid"),
    })
    .await;
    let kept = Kept::start(&gateway, None).await;
    kept.publish(&[passes_on("orders")], kept.message(), "x")
        .await;
    // The function and its answer, both once more as the next attempt, and no more: 400 is final.
    let asked = delivered(&gateway, 4).await;
    let id = asked[0].head.headers["x-fermata-invocation"].clone();
    assert_eq!(asked[1].head.headers["x-fermata-invocation"], id);
    for published in &asked[2..] {
        assert_eq!(published.head.headers["idempotency-key"], id);
    }
    let state = kept.over(id.to_str().unwrap()).await;
    assert_eq!(state["state"], "Failed");
    let message = state["message"].as_str().unwrap();
    assert!(
        message.contains("spec.output") && message.contains("400"),
        "{message}"
    );
    let attempts: Vec<_> = asked
        .iter()
        .filter(|asked| asked.head.uri.path() == "/orders")
        .map(|asked| asked.head.headers["x-fermata-attempt"].clone())
        .collect();
    assert_eq!(attempts, ["1", "2"]);
    kept.end().await;
}

#[tokio::test]
async fn what_nobody_hears_is_done_and_what_goes_round_has_an_end() {
    let gateway = Gateway::answering(|asked| match asked.head.uri.path() {
        "/topics/bills.shop" => {
            let mut nobody = answer(404, "nobody");
            let reason = "NoSuchTopic".parse().unwrap();
            nobody.headers_mut().insert("x-fermata-reason", reason);
            nobody
        }
        _ => answer(200, "paid"),
    })
    .await;
    let kept = Kept::start(&gateway, None).await;
    let hops = |hops: &str| kept.message().header("x-fermata-hops", hops);
    let round = kept.publish(&[passes_on("orders")], hops("17"), "x").await;
    assert_eq!(round.status, 508, "{round:?}");
    kept.publish(&[passes_on("orders")], hops("16"), "x").await;
    let asked = delivered(&gateway, 2).await;
    let id = asked[0].head.headers["x-fermata-invocation"].clone();
    assert_eq!(kept.over(id.to_str().unwrap()).await["state"], "Succeeded");
    kept.end().await;
}

#[tokio::test]
async fn an_answer_that_was_published_before_is_published() {
    let gateway = Gateway::answering(|asked| match asked.head.uri.path() {
        "/topics/bills.shop" => {
            let mut known = answer(422, "another body");
            let reason = "IdempotencyKeyReused".parse().unwrap();
            known.headers_mut().insert("x-fermata-reason", reason);
            known
        }
        _ => answer(200, "paid"),
    })
    .await;
    let kept = Kept::start(&gateway, None).await;
    kept.publish(&[passes_on("orders")], kept.message(), "x")
        .await;
    let asked = delivered(&gateway, 2).await;
    let id = asked[0].head.headers["x-fermata-invocation"].clone();
    assert_eq!(kept.over(id.to_str().unwrap()).await["state"], "Succeeded");
    kept.end().await;
}

#[tokio::test]
async fn answers_have_room_where_callers_have_none() {
    let gateway = Gateway::start(|_| Box::pin(std::future::pending())).await;
    let kept = Kept::with(&gateway, None, |options| options.max_calls = 10).await;
    let ten: Vec<Subscription> = (0..10)
        .map(|number| heard(&format!("f{number}"), &[]))
        .collect();
    let told = kept.publish(&ten, kept.message(), "x").await;
    assert_eq!(told.status, 202, "{told:?}");
    let asked = delivered(&gateway, 10).await;
    let running = asked[0].head.headers["x-fermata-invocation"].clone();
    let answer_of = |key: &str| {
        kept.message()
            .header("idempotency-key", key)
            .header("x-fermata-hops", "1")
    };
    let bills = [heard("bills", &[])];
    // Who only says so has no more room than others.
    for message in [
        kept.message(),
        answer_of("019ac4f6-9ce0-7000-8000-000000000000"),
    ] {
        let refused = kept.publish(&bills, message, "x").await;
        assert_eq!(refused.status, 507, "{refused:?}");
    }
    let told = kept
        .publish(&bills, answer_of(running.to_str().unwrap()), "x")
        .await;
    assert_eq!(told.status, 202, "{told:?}");
    kept.crash().await;
}

#[tokio::test]
async fn what_would_be_written_has_a_bound_before_anything_is_made_of_it() {
    let gateway = Gateway::answering(|_| answer(200, "")).await;
    let kept = Kept::start(&gateway, None).await;
    let many: Vec<Subscription> = (0..2000)
        .map(|number| heard(&format!("f{number}"), &[]))
        .collect();
    let event =
        |id: usize| json!({"specversion": "1.0", "id": id.to_string(), "source": "/", "type": "t"});
    let batch = Value::Array((0..1000).map(event).collect());
    let message = kept
        .message()
        .header("content-type", "application/cloudevents-batch+json");
    let refused = kept.publish(&many, message, &batch.to_string()).await;
    assert_eq!(refused.status, 413, "{refused:?}");
    let long = kept.message().header("baggage", "a".repeat(17_000));
    let refused = kept.publish(&many[..1], long, "x").await;
    assert_eq!(refused.status, 431, "{refused:?}");
    let coded = kept
        .message()
        .header("content-encoding", "gzip")
        .header("content-type", "application/json");
    let told = kept.publish(&many[..1], coded, "x").await;
    assert_eq!(told.status, 202, "{told:?}");
    let asked = delivered(&gateway, 1).await;
    assert_eq!(asked[0].head.headers["content-encoding"], "gzip");
    kept.end().await;
}
