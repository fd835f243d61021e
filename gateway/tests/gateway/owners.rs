//! Who gets to see and change the calls of a function whose callers do not wait.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use fermata_gateway::Owners;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    deferring::send,
    support::{Answer, FunctionSpec, Harness, echo, events},
};

const PATH: &str = "/.well-known/fermata/functions/default/hello/invocations";

/// What the API server was asked: the token, and what for.
type Reviews = Arc<Mutex<Vec<(String, Value)>>>;

/// An API server that lets `reader` get, `editor` do everything, and knows nobody else but `stranger`.
async fn reviews() -> (Owners, Reviews) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let reviews = Reviews::default();
    let seen = reviews.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let seen = seen.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let seen = seen.clone();
                async move { Ok::<_, Infallible>(review(request, &seen).await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let config = kube::Config::new(format!("http://{address}").parse().unwrap());
    (Owners::of_cluster(config).unwrap(), reviews)
}

async fn review(request: Request<Incoming>, seen: &Reviews) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    assert_eq!(
        head.uri.path(),
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    );
    let token = head.headers["authorization"].to_str().unwrap();
    let token = token.strip_prefix("Bearer ").unwrap().to_owned();
    let body = body.collect().await.unwrap().to_bytes();
    let mut review: Value = serde_json::from_slice(&body).unwrap();
    let asked = review["spec"]["resourceAttributes"].clone();
    let verb = asked["verb"].as_str().unwrap().to_owned();
    seen.lock().unwrap().push((token.clone(), asked));
    let (status, answer) = match &*token {
        "reader" | "editor" | "stranger" => {
            let allowed = token == "editor" || (token == "reader" && verb == "get");
            review["status"] = json!({ "allowed": allowed });
            (201, review)
        }
        "slow-down" => (
            500,
            json!({"kind": "Status", "apiVersion": "v1", "code": 500}),
        ),
        _ => (
            401,
            json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure",
                "reason": "Unauthorized", "message": "Unauthorized", "code": 401,
            }),
        ),
    };
    let answer = Full::new(Bytes::from(answer.to_string()));
    Response::builder().status(status).body(answer).unwrap()
}

fn asked(method: &str, path: &str, token: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1")
        .header("authorization", format!("Bearer {token}"))
}

async fn harness(owners: Owners) -> Harness {
    let functions = [FunctionSpec::warm("hello", echo())];
    let events = events().await;
    Harness::owned_by(&functions, owners, |options| options.events = Some(events)).await
}

fn refused(answer: &Answer) -> (u16, String) {
    let reason = answer.header("x-fermata-reason").to_owned();
    (answer.status.as_u16(), reason)
}

#[tokio::test]
async fn the_cluster_is_asked_with_the_callers_own_token() {
    let (owners, reviews) = reviews().await;
    let harness = harness(owners).await;
    let list = format!("{PATH}?state=failed");
    for address in [harness.data, harness.internal] {
        let answer = send(address, asked("GET", &list, "reader"), "").await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let seen = answer.json();
        assert_eq!(seen["target"], "/owned/default/hello?state=failed");
        let headers = &seen["headers"];
        assert!(headers["x-fermata-function-uid"].is_string(), "{headers}");
        assert!(headers["authorization"].is_null(), "{headers}");
    }
    let redrive = format!("{PATH}/redrive?limit=3");
    let answer = send(harness.data, asked("POST", &redrive, "editor"), "").await;
    let seen = answer.json();
    assert_eq!(
        (&seen["method"], &seen["target"]),
        (
            &json!("POST"),
            &json!("/owned/default/hello/redrive?limit=3")
        )
    );
    for (token, status, reason) in [
        ("reader", 403, "Forbidden"),
        ("stranger", 403, "Forbidden"),
        ("nobody", 401, "Unauthorized"),
        ("slow-down", 503, "ReviewUnavailable"),
    ] {
        let answer = send(harness.data, asked("POST", &redrive, token), "").await;
        assert_eq!(refused(&answer), (status, reason.to_owned()), "{token}");
    }
    let reviews = reviews.lock().unwrap().clone();
    assert_eq!(
        reviews[0],
        (
            "reader".to_owned(),
            json!({
                "group": "fermata.dev", "resource": "functions", "subresource": "invocations",
                "namespace": "default", "name": "hello", "verb": "get",
            })
        )
    );
    assert_eq!(reviews[2].1["verb"], "update");
}

#[tokio::test]
async fn who_shows_nothing_or_asks_elsewhere_gets_nothing() {
    let (owners, reviews) = reviews().await;
    let harness = harness(owners).await;
    let bare = Request::get(PATH).header("host", "127.0.0.1");
    let answer = send(harness.data, bare, "").await;
    assert_eq!(refused(&answer), (401, "Unauthorized".to_owned()));
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    let basic = Request::get(PATH)
        .header("host", "127.0.0.1")
        .header("authorization", "Basic ZWRpdG9yOmVkaXRvcg==");
    assert_eq!(send(harness.data, basic, "").await.status, 401);
    // On a function's own host nothing is told, and the function does not get what is shown either.
    for (address, host) in [
        (harness.data, "hello.default.localhost"),
        (harness.data, "nobody.default.localhost"),
        (harness.internal, "hello.default.svc"),
    ] {
        let own = Request::get(PATH)
            .header("host", host)
            .header("authorization", "Bearer editor");
        let answer = send(address, own, "").await;
        assert_eq!(
            refused(&answer),
            (404, "NoSuchFunction".to_owned()),
            "{host}"
        );
    }
    for path in [
        "/.well-known/fermata/functions/",
        "/.well-known/fermata/functions/default/hello",
        "/.well-known/fermata/functions/default/a%2Fb/invocations",
    ] {
        let answer = send(harness.data, asked("GET", path, "editor"), "").await;
        assert_eq!(answer.status, 404, "{path}");
    }
    assert!(reviews.lock().unwrap().is_empty());
    // Whether a function is there is told to those alone who may know.
    let gone = PATH.replace("hello", "gone");
    for (token, status) in [("nobody", 401), ("stranger", 403), ("editor", 404)] {
        let answer = send(harness.data, asked("GET", &gone, token), "").await;
        assert_eq!(answer.status, status, "{token}");
    }
}

#[tokio::test]
async fn behind_a_proxy_tokens_come_by_https_alone() {
    let (owners, reviews) = reviews().await;
    let functions = [FunctionSpec::warm("hello", echo())];
    let events = events().await;
    let harness = Harness::owned_by(&functions, owners, |options| {
        options.events = Some(events);
        options.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    for (proto, status) in [(None, 403), (Some("http"), 403), (Some("https"), 202)] {
        let mut request = asked("GET", PATH, "editor");
        if let Some(proto) = proto {
            request = request.header("x-forwarded-proto", proto);
        }
        let answer = send(harness.data, request, "").await;
        assert_eq!(answer.status, status, "{proto:?}");
    }
    assert_eq!(reviews.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn without_events_or_owners_the_sentence_says_so() {
    let functions = [FunctionSpec::warm("hello", echo())];
    let (owners, _) = reviews().await;
    let off = Harness::owned_by(&functions, owners, |_| {}).await;
    let answer = send(off.data, asked("GET", PATH, "editor"), "").await;
    assert_eq!(refused(&answer), (501, "EventsOff".to_owned()));
    let nobody = harness(Owners::default()).await;
    let answer = send(nobody.data, asked("GET", PATH, "editor"), "").await;
    assert_eq!(refused(&answer), (501, "OwnersUnknown".to_owned()));
}
