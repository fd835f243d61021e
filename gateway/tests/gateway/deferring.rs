//! Calls whose callers do not wait: what of them reaches the events program, and what the callers are told.

use bytes::Bytes;
use fermata_gateway::OwnPath;
use http::{Request, uri::Authority};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{Answer, FunctionSpec, Harness, echo, events, get, request};

async fn harness(events: Option<Authority>) -> Harness {
    let functions = [
        FunctionSpec::warm("hello", echo()),
        FunctionSpec::warm("other", echo()),
    ];
    Harness::with_options(&functions, |options| options.events = events).await
}

fn deferred(method: &str, host: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", host)
        .header("prefer", "respond-async")
}

pub(crate) async fn send(
    address: std::net::SocketAddr,
    asked: http::request::Builder,
    body: &str,
) -> Answer {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    request(address, asked.body(body).unwrap()).await
}

#[tokio::test]
async fn the_events_program_gets_the_call_and_the_caller_its_answer() {
    let harness = harness(Some(events().await)).await;
    for (address, host, path, target, entrance) in [
        (
            harness.data,
            "hello.default.localhost",
            "/a?b=c",
            "/functions/default/hello/a?b=c",
            "public",
        ),
        (
            harness.data,
            "127.0.0.1",
            "/function/hello/a?b=c",
            "/functions/default/hello/a?b=c",
            "public",
        ),
        (
            harness.data,
            "127.0.0.1",
            "/function/hello?b",
            "/functions/default/hello/?b",
            "public",
        ),
        (
            harness.internal,
            "hello.default.svc",
            "/a",
            "/functions/default/hello/a",
            "internal",
        ),
    ] {
        let asked = deferred("PUT", host, path)
            .header("x-fermata-entrance", "internal")
            .header("x-fermata-delivery", "{\"attempts\":100}")
            .header("x-fermata-trigger", "nightly")
            .header("x-forwarded-for", "10.0.0.1")
            .header("x-a", "1");
        let answer = send(address, asked, "seven").await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.header("location"), "/somewhere");
        let seen = answer.json();
        assert_eq!(
            (&seen["method"], &seen["target"]),
            (&json!("PUT"), &json!(target))
        );
        assert_eq!(seen["body"], "seven");
        let headers = &seen["headers"];
        assert_eq!(headers["x-fermata-entrance"], entrance);
        assert_eq!(
            (
                &headers["x-a"],
                &headers["x-fermata-delivery"],
                &headers["x-fermata-trigger"],
            ),
            (&json!("1"), &json!("{}"), &Value::Null)
        );
        assert!(headers["x-fermata-function-uid"].is_string(), "{headers}");
        assert!(headers["x-forwarded-for"].is_null(), "{headers}");
        assert_eq!(headers["x-request-id"], answer.header("x-request-id"));
    }
    // The path of OpenFaaS says it without the preference; on a function's own host it is a path like others.
    let path = "/async-function/hello.default/a";
    let asked = Request::get(path).header("host", "127.0.0.1");
    let seen = send(harness.data, asked, "").await.json();
    assert_eq!(seen["target"], "/functions/default/hello/a");
    let own = get(harness.data, "hello.default.localhost", path).await;
    assert_eq!((own.status.as_u16(), own.header("got-target")), (200, path));
}

#[tokio::test]
async fn what_became_of_calls_is_asked_for_in_the_name_of_the_host() {
    let harness = harness(Some(events().await)).await;
    let path = "/.well-known/fermata/invocations/7/result?x";
    let shared = get(harness.data, "127.0.0.1", path).await.json();
    assert_eq!(shared["target"], "/invocations/7/result?x");
    assert!(shared["headers"]["x-fermata-function-uid"].is_null());
    // The gateway's own names are nobody's.
    for (address, host) in [
        (
            harness.internal,
            "fermata-gateway-internal.fermata-system.svc",
        ),
        (harness.data, "fermata.example"),
        (harness.data, "gateway.localhost"),
    ] {
        let seen = get(address, host, path).await.json();
        assert_eq!(seen["target"], "/invocations/7/result?x", "{host}");
    }
    let hosts = [
        (harness.data, "hello.default.localhost"),
        (harness.internal, "hello.default.svc"),
        (harness.data, "other.default.localhost"),
    ];
    let mut owners = Vec::new();
    for (address, host) in hosts {
        let mut asked = Request::get(path).header("host", host);
        if address == harness.data {
            asked = asked.header("x-fermata-function-uid", "forged");
        }
        let seen = send(address, asked, "").await.json();
        assert_eq!(seen["target"], "/invocations/7/result?x");
        owners.push(
            seen["headers"]["x-fermata-function-uid"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    assert_eq!(owners[0], owners[1]);
    assert_ne!(owners[0], owners[2]);
    assert!(!owners.contains(&"forged".to_owned()));
    // What is nobody's now shows nothing in the name of who had it.
    let gone = get(harness.data, "gone.default.localhost", path).await;
    assert_eq!(gone.reason(), "NoSuchFunction");
    // A call that comes back is for its function, whatever its path.
    let own = Request::get(path)
        .header("host", "hello.default.svc")
        .header("x-fermata-function-uid", &owners[0]);
    let answer = send(harness.internal, own, "").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("got-target")),
        (200, path)
    );
}

#[tokio::test]
async fn a_caller_in_the_cluster_may_mean_this_function_and_no_later_one_of_the_name() {
    let harness = harness(Some(events().await)).await;
    let uid = {
        let asked = deferred("GET", "hello.default.localhost", "/");
        let seen = send(harness.data, asked, "").await.json();
        seen["headers"]["x-fermata-function-uid"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    for (address, host, uid, status) in [
        (harness.internal, "hello.default.svc", &*uid, 200),
        (harness.internal, "hello.default.svc", "another", 404),
        // Nobody else can say what is meant.
        (harness.data, "hello.default.localhost", "another", 200),
    ] {
        let asked = Request::get("/")
            .header("host", host)
            .header("x-fermata-function-uid", uid);
        let answer = send(address, asked, "").await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

#[tokio::test]
async fn where_nothing_keeps_calls_they_are_refused_with_the_way_out_and_the_function_hears_nothing()
 {
    let off = harness(None).await;
    for asked in [
        deferred("POST", "hello.default.localhost", "/"),
        Request::get("/async-function/hello").header("host", "x"),
        Request::get("/.well-known/fermata/invocations/7")
            .header("host", "hello.default.localhost"),
    ] {
        let answer = send(off.data, asked, "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.reason()),
            (501, "EventsOff")
        );
        assert!(
            answer.text().contains("events.store in the values"),
            "{answer:?}"
        );
    }
    let unknown = Request::get("/async-function/nobody").header("host", "x");
    assert_eq!(send(off.data, unknown, "").await.reason(), "NoSuchFunction");

    // A port at which nobody listens.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let away = harness(Some(nobody.to_string().parse().unwrap())).await;
    let answer = send(
        away.data,
        deferred("POST", "hello.default.localhost", "/"),
        "x",
    )
    .await;
    assert_eq!(
        (answer.status.as_u16(), answer.reason()),
        (503, "EventsUnreachable")
    );
    assert!(!answer.header("retry-after").is_empty());
}

#[tokio::test]
async fn what_could_not_come_back_is_not_kept() {
    let functions = [
        FunctionSpec::warm("hello", echo()),
        FunctionSpec::warm("git", echo()),
    ];
    let events = events().await;
    let harness = Harness::with_options(&functions, |options| {
        options.events = Some(events);
        options.max_header_bytes = 4000;
        options.own_paths = vec![OwnPath {
            path: "/git".into(),
            namespace: "default".into(),
            name: "git".into(),
        }];
    })
    .await;
    let host = "hello.default.localhost";
    for (length, status) in [(2000, 202), (3500, 431)] {
        let large = deferred("POST", host, "/").header("x-a", "a".repeat(length));
        let answer = send(harness.data, large, "").await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let many = (0..990).fold(deferred("POST", host, "/"), |asked, _| {
        asked.header("a", "")
    });
    assert_eq!(
        send(harness.data, many, "").await.reason(),
        "HeadersTooLarge"
    );
    // It answers below a path alone, and has no name from within.
    let git = deferred("GET", "127.0.0.1", "/git/x.git");
    let refused = send(harness.data, git, "").await;
    assert_eq!(
        (refused.status.as_u16(), refused.reason()),
        (400, "BadRequest")
    );
    assert!(refused.text().contains("asynchronously"), "{refused:?}");
}

#[tokio::test]
async fn a_body_that_is_too_large_or_another_protocol_is_the_callers_fault() {
    let functions = [FunctionSpec::warm("hello", echo())];
    let events = events().await;
    let harness = Harness::with_options(&functions, |options| {
        options.events = Some(events);
        options.max_body_bytes = 10;
    })
    .await;
    let large = deferred("POST", "hello.default.localhost", "/");
    assert_eq!(
        send(harness.data, large, &"x".repeat(11)).await.reason(),
        "PayloadTooLarge"
    );
    let upgrade = deferred("GET", "hello.default.localhost", "/")
        .header("connection", "upgrade")
        .header("upgrade", "websocket");
    let answer = send(harness.data, upgrade, "").await;
    assert_eq!(
        (answer.status.as_u16(), answer.reason()),
        (400, "BadRequest")
    );
}
