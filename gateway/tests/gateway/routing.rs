//! Which function a request reaches, and what the function sees of it.

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use serde_json::json;

use crate::support::{FunctionSpec, Harness, echo, get, request, until};

fn asked(host: &str, path: &str) -> http::request::Builder {
    Request::get(path).header("host", host)
}

#[tokio::test]
async fn a_function_is_reached_by_its_hosts_and_paths() {
    let mut orders = FunctionSpec::warm("orders", echo());
    orders.expose = json!({ "hosts": ["Shop.example.org"], "path": "/api/orders" });
    let harness = Harness::with(&[orders, FunctionSpec::warm("hello", echo())]).await;
    for (host, path, function, seen) in [
        ("hello.default.localhost", "/a?b=c", "hello", "/a?b=c"),
        ("HELLO.default.localhost.:8080", "/", "hello", "/"),
        ("hello.default.svc.cluster.local", "/", "hello", "/"),
        ("shop.example.org", "/x", "orders", "/x"),
        ("anything", "/api/orders/7?y", "orders", "/api/orders/7?y"),
        ("anything", "/function/hello/a/b?c", "hello", "/a/b?c"),
        ("anything", "/function/hello.default", "hello", "/"),
    ] {
        let answer = get(harness.data, host, path).await;
        assert_eq!(answer.status, 200, "{host}{path}");
        assert!(answer.header("pod").starts_with(function), "{host}{path}");
        assert_eq!(answer.header("got-target"), seen, "{host}{path}");
    }
}

#[tokio::test]
async fn nothing_there_is_a_problem_that_says_so() {
    let harness = Harness::with(&[]).await;
    let answer = get(harness.data, "nobody.default.localhost", "/").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.reason(), "NoSuchFunction");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["status"], 404);
    assert_eq!(problem["reason"], "NoSuchFunction");
    assert_eq!(problem["requestId"], answer.header("x-request-id"));
    assert!(answer.header("server-timing").starts_with("queue;dur="));
}

#[tokio::test]
async fn a_cluster_function_answers_only_in_the_cluster() {
    let mut inner = FunctionSpec::warm("inner", echo());
    inner.expose = json!({ "visibility": "Cluster" });
    let harness = Harness::with(&[inner]).await;
    assert_eq!(harness.get("inner", "/").await.status, 404);
    assert_eq!(get(harness.data, "x", "/function/inner/").await.status, 404);
    assert_eq!(
        get(harness.data, "inner.default.svc", "/").await.status,
        200
    );
}

#[tokio::test]
async fn the_function_learns_who_asks_and_how_the_request_is_called() {
    let harness = Harness::with(&[FunctionSpec::warm("hello", echo())]).await;
    let asked = asked("hello.default.localhost", "/")
        .header("x-request-id", "my-id")
        .header("x-forwarded-for", "6.6.6.6")
        .header("connection", "x-hop")
        .header("x-hop", "secret")
        .header("te", "trailers")
        .header("accept", "text/plain");
    let answer = request(harness.data, asked.body(Empty::<Bytes>::new()).unwrap()).await;
    assert_eq!(answer.header("got-host"), "hello.default.localhost");
    assert_eq!(answer.header("got-x-forwarded-for"), "127.0.0.1");
    assert_eq!(answer.header("got-x-forwarded-proto"), "http");
    assert_eq!(
        answer.header("got-x-forwarded-host"),
        "hello.default.localhost"
    );
    let forwarded = "for=127.0.0.1;host=\"hello.default.localhost\";proto=http";
    assert_eq!(answer.header("got-forwarded"), forwarded);
    assert_eq!(answer.header("got-x-request-id"), "my-id");
    assert_eq!(answer.header("x-request-id"), "my-id");
    assert_eq!(answer.header("got-traceparent").len(), 55);
    assert_eq!(answer.header("got-accept"), "text/plain");
    assert_eq!(answer.header("got-te"), "trailers");
    assert_eq!(answer.header("got-x-hop"), "");
    for phase in ["queue;dur=", "start;dur=", "connect;dur=", "function;dur="] {
        assert!(answer.header("server-timing").contains(phase));
    }
}

#[tokio::test]
async fn a_bad_object_stops_nobody_and_a_deleted_one_leaves() {
    let harness = Harness::with(&[FunctionSpec::warm("hello", echo())]).await;
    harness.cluster.api.put(
        "functions",
        json!({
            "metadata": { "name": "broken", "namespace": "default" },
            "spec": { "image": 7 },
        }),
    );
    harness.cluster.add(&FunctionSpec::warm("late", echo()));
    until("late answers", async || {
        harness.get("late", "/").await.status == 200
    })
    .await;
    assert_eq!(harness.get("hello", "/").await.status, 200);
    let metrics = harness.admin("/metrics").await;
    assert!(
        metrics.contains("fermata_watch_invalid_objects_total 1"),
        "{metrics}"
    );
    let series = "fermata_requests_total{namespace=\"default\",function=\"hello\",code=\"200\"} 1";
    assert!(metrics.contains(series), "{metrics}");

    harness.cluster.api.remove("functions", "hello");
    until("hello is gone", async || {
        harness.get("hello", "/").await.status == 404
    })
    .await;
    assert!(
        !harness
            .admin("/metrics")
            .await
            .contains("function=\"hello\"")
    );
}
