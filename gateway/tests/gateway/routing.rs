//! Which function a request reaches, and what the function sees of it.

use bytes::Bytes;
use fermata_gateway::{AccessLog, OwnPath};
use http::Request;
use http_body_util::{Empty, Full};
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
async fn a_function_may_answer_below_a_path_of_the_gateway_itself() {
    let functions = [FunctionSpec::warm("hello", echo())];
    let harness = Harness::with_options(&functions, |options| {
        options.own_paths = vec![OwnPath {
            path: "/git".into(),
            namespace: "default".into(),
            name: "hello".into(),
        }];
    })
    .await;
    for (path, status) in [("/git/a.git", 200), ("/git", 200), ("/gitx", 404)] {
        let answer = get(harness.data, "127.0.0.1", path).await;
        assert_eq!(answer.status, status, "{path}");
        if status == 200 {
            assert_eq!(answer.header("got-target"), path);
        }
    }
}

#[tokio::test]
async fn only_functions_of_the_watched_namespaces_are_there() {
    let harness = Harness::with(&[FunctionSpec::warm("hello", echo())]).await;
    for (namespaces, status) in [(&["other"][..], 404), (&["default", "other"], 200)] {
        let gateway = harness.another(|options| {
            options.watch_namespaces = namespaces.iter().map(ToString::to_string).collect();
        });
        let answer = gateway.await.get("hello", "/").await;
        assert_eq!(answer.status, status, "{namespaces:?}");
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
    for host in [
        "inner.default",
        "inner.default.svc",
        "inner.default.svc.cluster.local",
    ] {
        assert_eq!(get(harness.data, host, "/").await.status, 404, "{host}");
        assert_eq!(get(harness.internal, host, "/").await.status, 200, "{host}");
    }
    // Paths lead there too, for callers that cannot choose their Host.
    let answer = get(harness.internal, "gateway", "/function/inner/a").await;
    assert_eq!(answer.header("got-target"), "/a");
}

#[tokio::test]
async fn nobody_takes_the_names_of_others() {
    let mut thief = FunctionSpec::warm("thief", echo());
    thief.expose = json!({
        "hosts": [
            "hello.default.localhost", "later.default.localhost", "hello.default.svc",
            "hello.default.svc.cluster.local", "127.0.0.1", "localhost", "mine.example.org",
        ],
        "path": "/",
    });
    let mut late = FunctionSpec::warm("granted", echo());
    late.expose = json!({ "hosts": ["a.shop.example.org"] });
    let functions = [FunctionSpec::warm("hello", echo()), thief, late];
    let harness = Harness::with_options(&functions, |options| {
        options.claims = vec!["shop.example.org=shop".parse().unwrap()];
    })
    .await;
    let who = async |address, host: &str, path: &str| {
        let answer = get(address, host, path).await;
        let pod = answer.header("pod").to_owned();
        pod.split('-').next().unwrap_or_default().to_owned()
    };
    let data = harness.data;
    assert_eq!(who(data, "hello.default.localhost", "/").await, "hello");
    assert_eq!(who(data, "anything", "/function/hello").await, "hello");
    let internal = harness.internal;
    assert_eq!(who(internal, "hello.default.svc", "/").await, "hello");
    assert_eq!(get(internal, "later.default.svc", "/").await.status, 404);
    // What is nobody's is shared, and there the path counts.
    assert_eq!(who(data, "later.default.localhost", "/").await, "thief");
    assert_eq!(who(data, "mine.example.org", "/").await, "thief");
    // The domain is granted to another namespace.
    assert_eq!(who(data, "a.shop.example.org", "/").await, "thief");
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
    let forwarded = answer.header("got-forwarded");
    let (client, rest) = forwarded.split_once(';').unwrap();
    let client = client.strip_prefix("for=\"127.0.0.1:").unwrap();
    let port = client.trim_end_matches('"').parse::<u16>();
    assert!(port.is_ok(), "{forwarded}");
    assert_eq!(rest, "host=\"hello.default.localhost\";proto=http");
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

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn each_request_is_a_line_in_the_access_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_writer(move || writer.clone())
        .finish();
    // For all threads: requests are served on others than the test's. No other test logs requests.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let harness = Harness::with_options(&[FunctionSpec::warm("f", echo())], |options| {
        options.access_log = AccessLog::Json;
    })
    .await;
    let asked = Request::post("/a?secret=1").header("host", "f.default.localhost");
    let asked = asked
        .header("x-request-id", "id-7")
        .body(Full::<Bytes>::from("four"));
    assert_eq!(request(harness.data, asked.unwrap()).await.status, 200);
    assert_eq!(harness.get("nobody", "/").await.status, 404);
    let lines = || {
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .filter(|line: &serde_json::Value| line["target"] == "fermata::access")
            .map(|line| line["fields"].clone())
            .collect::<Vec<_>>()
    };
    until("both are logged", async || lines().len() == 2).await;
    let lines = lines();
    for (field, value) in [
        ("method", json!("POST")),
        ("host", json!("f.default.localhost")),
        ("path", json!("/a")),
        ("status", json!(200)),
        ("reason", json!("")),
        ("received_bytes", json!(4)),
        ("sent_bytes", json!(4)),
        ("namespace", json!("default")),
        ("function", json!("f")),
        ("revision", json!("f-00001")),
        ("request_id", json!("id-7")),
    ] {
        assert_eq!(lines[0][field], value, "{field}");
    }
    assert_eq!(lines[1]["reason"], "NoSuchFunction");
}
