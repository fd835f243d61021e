//! Messages of topics: what of them reaches the events program, and what publishers are told.

use bytes::Bytes;
use fermata_gateway::ErrorDetails;
use http::{Request, uri::Authority};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{Answer, FunctionSpec, Harness, echo, events, request, until};

fn hears(name: &'static str, topics: &[&str]) -> FunctionSpec {
    let triggers: Vec<Value> = topics
        .iter()
        .map(|topic| json!({"name": topic, "topic": {"name": topic, "filter": {"type": "t"}}}))
        .collect();
    FunctionSpec::warm(name, echo()).template(json!({
        "triggers": triggers, "delivery": {"attempts": 7},
    }))
}

async fn harness(events: Option<Authority>) -> Harness {
    let functions = [
        hears("bills", &["orders", "returns"]),
        hears("mails", &["orders"]),
        FunctionSpec {
            expose: json!({"visibility": "Cluster"}),
            ..hears("audit", &["secrets"])
        },
        hears("both", &["secrets"]),
    ];
    Harness::with_options(&functions, |options| {
        options.events = events;
        options.error_details = ErrorDetails::Public;
    })
    .await
}

async fn send(
    address: std::net::SocketAddr,
    method: &str,
    (host, path): (&str, &str),
    body: &str,
) -> Answer {
    let asked = Request::builder()
        .method(method)
        .uri(path)
        .header("host", host)
        .header("x-fermata-entrance", "internal")
        .header("x-fermata-publisher", "other")
        .header("x-fermata-hops", "16")
        .header("ce-type", "t");
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    request(address, asked.body(body).unwrap()).await
}

/// The functions and their triggers, and the message behind them.
fn split(seen: &Value) -> (Vec<String>, String) {
    let body = seen["body"].as_str().unwrap();
    let (subscriptions, begin) = fermata_crds::topic::split(body.as_bytes()).unwrap();
    for subscription in &subscriptions {
        assert_eq!(subscription.delivery.attempts, Some(7));
        assert_eq!(*subscription.uid, *subscription.function);
        assert_eq!(subscription.filter["type"], "t");
    }
    let names = subscriptions.iter();
    let names = names.map(|one| format!("{}/{}", one.function, one.trigger));
    (names.collect(), body[begin..].to_owned())
}

#[tokio::test]
async fn the_events_program_gets_the_message_and_who_hears_it() {
    let harness = harness(Some(events().await)).await;
    for (address, host, path, entrance) in [
        (harness.data, "127.0.0.1", "/topics/orders", "public"),
        (
            harness.data,
            "127.0.0.1",
            "/messages/orders.default",
            "public",
        ),
        (harness.internal, "gateway", "/topics/orders", "internal"),
    ] {
        let answer = send(address, "POST", (host, path), "seven").await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let seen = answer.json();
        assert_eq!(
            (&seen["method"], &seen["target"]),
            (&json!("POST"), &json!("/topics/default/orders"))
        );
        let both = ["bills/orders", "mails/orders"].map(ToOwned::to_owned);
        assert_eq!(split(&seen), (both.to_vec(), "seven".to_owned()));
        let headers = &seen["headers"];
        assert_eq!(headers["x-fermata-entrance"], entrance);
        assert_eq!(headers["ce-type"], "t");
        // Who publishes is the gateway's word alone: here it has the address of a function's instance.
        let publisher = (entrance == "internal").then_some("default");
        assert_eq!(headers["x-fermata-publisher"], json!(publisher));
        let hops = (entrance == "internal").then_some("16");
        assert_eq!(headers["x-fermata-hops"], json!(hops));
        assert_eq!(headers["x-request-id"], answer.header("x-request-id"));
    }
    // One whose function is gone is nobody's.
    let gone = ("gone.default.localhost", "/topics/orders");
    let answer = send(harness.data, "POST", gone, "seven").await;
    assert_eq!(answer.reason(), "NoSuchFunction");
    // On a function's own host it is a path like others.
    let own = ("mails.default.localhost", "/topics/orders");
    let answer = send(harness.data, "POST", own, "seven").await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn from_anywhere_one_publishes_where_one_could_call_as_well() {
    let harness = harness(Some(events().await)).await;
    let inside = send(
        harness.internal,
        "POST",
        ("gateway", "/topics/secrets.default"),
        "",
    )
    .await;
    assert_eq!(inside.status, 202, "{inside:?}");
    for (path, status, reason) in [
        ("/topics/secrets", 404, "NoSuchTopic"),
        ("/topics/order", 404, "NoSuchTopic"),
        ("/topics/orders.other", 404, "NoSuchTopic"),
        ("/topics/", 404, "NoSuchTopic"),
        ("/topics/orders/more", 404, "NoSuchTopic"),
        ("/topics", 404, "NoSuchFunction"),
    ] {
        let answer = send(harness.data, "POST", ("127.0.0.1", path), "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.reason()),
            (status, reason),
            "{path}"
        );
        assert!(!answer.text().contains("did you mean"), "{answer:?}");
    }
    let near = send(
        harness.internal,
        "POST",
        ("gateway", "/topics/order.default"),
        "",
    )
    .await;
    assert!(near.text().contains("did you mean orders?"), "{near:?}");
    let get = send(harness.data, "GET", ("127.0.0.1", "/topics/orders"), "").await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, "POST"));
}

#[tokio::test]
async fn a_topic_goes_with_the_last_who_hears_it() {
    let harness = harness(Some(events().await)).await;
    let orders = ("127.0.0.1", "/topics/orders");
    harness.cluster.put_function(
        &FunctionSpec::warm("bills", echo()),
        "bills-00001",
        Some("bills-00001"),
    );
    let only = vec!["mails/orders".to_owned()];
    until("bills hears nothing any more", async || {
        let seen = send(harness.data, "POST", orders, "").await.json();
        split(&seen).0 == only
    })
    .await;
    harness.cluster.api.remove("functions", "mails");
    until("nobody hears it", async || {
        send(harness.data, "POST", orders, "").await.reason() == "NoSuchTopic"
    })
    .await;
}

#[tokio::test]
async fn where_nothing_keeps_messages_that_is_said() {
    let harness = harness(None).await;
    let refused = send(harness.data, "POST", ("127.0.0.1", "/topics/orders"), "").await;
    assert_eq!(
        (refused.status.as_u16(), refused.reason()),
        (501, "EventsOff")
    );
    assert!(
        refused.text().contains("events.store in the values"),
        "{refused:?}"
    );
}
