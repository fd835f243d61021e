//! Watches against an API server that is played, with a clock that stands still.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use fermata_daemon::watch::{Key, Places, Watch, WatchEvent};
use futures::StreamExt as _;
use http::{Request, Response};
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

/// How long a namespace that may not be listed holds up the others.
const PATIENCE: Duration = Duration::from_secs(30);

/// An API server with pods. Its watches say nothing and break when it is told to.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What is answered in place of a list, by namespace.
    refusals: BTreeMap<String, u16>,
    pods: Vec<Value>,
}

/// What a watch has led to.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeSet<Key>>>);

impl Server {
    fn refuse(&self, namespace: &str, code: u16) {
        let mut state = self.0.lock().unwrap();
        state.refusals.insert(namespace.to_owned(), code);
    }

    fn allow(&self, namespace: &str) {
        self.0.lock().unwrap().refusals.remove(namespace);
    }

    fn put(&self, namespace: &str, name: &str, spec: &Value) {
        self.0.lock().unwrap().pods.push(json!({
            "metadata": { "namespace": namespace, "name": name, "uid": name, "resourceVersion": "1" },
            "spec": spec,
        }));
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let query = request.uri().query().unwrap_or_default();
                if query.contains("watch=true") {
                    return pending().await;
                }
                Ok::<_, Infallible>(server.list(request.uri().path()))
            }
        });
        Client::new(service, "default")
    }

    /// `/api/v1/namespaces/NAMESPACE/pods`, or `/api/v1/pods`.
    fn list(&self, path: &str) -> Response<Body> {
        let namespace = path
            .strip_prefix("/api/v1/namespaces/")
            .and_then(|rest| rest.strip_suffix("/pods"))
            .unwrap_or_default();
        let state = self.0.lock().unwrap();
        let (code, body) = match state.refusals.get(namespace) {
            Some(code) => {
                let reason = if *code == 403 {
                    "Forbidden"
                } else {
                    "ServiceUnavailable"
                };
                let body = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": "not now", "reason": reason, "code": code,
                });
                (*code, body)
            }
            None => {
                let here = |pod: &&Value| {
                    namespace.is_empty() || pod["metadata"]["namespace"] == namespace
                };
                let items: Vec<&Value> = state.pods.iter().filter(here).collect();
                let body = json!({
                    "kind": "PodList", "apiVersion": "v1", "metadata": { "resourceVersion": "7" },
                    "items": items,
                });
                (200, body)
            }
        };
        let response = Response::builder().status(code);
        response
            .body(Body::from(body.to_string().into_bytes()))
            .unwrap()
    }
}

impl Seen {
    fn has(&self, namespace: &str, name: &str) -> bool {
        self.0.lock().unwrap().contains(&Key::new(namespace, name))
    }

    async fn until(&self, namespace: &str, name: &str) {
        while !self.has(namespace, name) {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Watches the pods of these namespaces.
fn watch(server: &Server, namespaces: &[&str]) -> (Watch, Seen) {
    let watch = Watch::new(server.client(), Places::of(namespaces), &["Pod"]);
    let seen = Seen::default();
    let mut events = Box::pin(watch.objects::<Pod>(&fermata_daemon::watch::all()));
    tokio::spawn({
        let (watch, seen) = (watch.clone(), seen.clone());
        async move {
            while let Some(told) = events.next().await {
                watch.hand(told, |told| {
                    let mut seen = seen.0.lock().unwrap();
                    match told {
                        WatchEvent::There { object, .. } => drop(seen.insert(Key::of(&object))),
                        WatchEvent::Gone { key, .. } => drop(seen.remove(&key)),
                        WatchEvent::Listed(names) => seen.retain(|key| !names.lack(key)),
                        WatchEvent::Unreadable(_) | WatchEvent::Broke => {}
                    }
                });
            }
        }
    });
    (watch, seen)
}

fn spec() -> Value {
    json!({ "containers": [] })
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_may_not_be_listed_holds_the_others_up_for_a_while_only() {
    let server = Server::default();
    server.put("shop", "pod", &spec());
    server.put("gone", "pod", &spec());
    server.refuse("gone", 403);
    let begun = Instant::now();
    let (watch, seen) = watch(&server, &["shop", "gone"]);
    seen.until("shop", "pod").await;
    assert!(!watch.listed().is_whole());
    watch.listed().whole().await;
    assert!(watch.listed().is_whole());
    let waited = begun.elapsed();
    assert!(
        (PATIENCE..PATIENCE + Duration::from_secs(2)).contains(&waited),
        "{waited:?}"
    );

    sleep(Duration::from_secs(600)).await;
    assert!(!seen.has("gone", "pod"));
    server.allow("gone");
    timeout(Duration::from_secs(10), seen.until("gone", "pod"))
        .await
        .expect("it comes back");
}

#[tokio::test(start_paused = true)]
async fn a_role_that_comes_a_moment_later_is_waited_for() {
    let server = Server::default();
    server.put("late", "pod", &spec());
    server.refuse("late", 403);
    let (watch, seen) = watch(&server, &["shop", "late"]);
    sleep(Duration::from_secs(5)).await;
    server.allow("late");
    timeout(Duration::from_secs(10), watch.listed().whole())
        .await
        .expect("all is listed");
    assert!(seen.has("late", "pod"));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_reached_or_is_refused_everywhere_is_waited_for() {
    for code in [403, 503] {
        let server = Server::default();
        server.refuse("shop", code);
        server.refuse("blog", code);
        let (watch, _) = watch(&server, &["shop", "blog"]);
        let early = timeout(Duration::from_secs(600), watch.listed().whole()).await;
        assert!(early.is_err(), "{code}");
        server.allow("shop");
        if code == 503 {
            let early = timeout(Duration::from_secs(600), watch.listed().whole()).await;
            assert!(early.is_err(), "nothing is known of the other namespace");
            server.allow("blog");
        }
        timeout(Duration::from_secs(10), watch.listed().whole())
            .await
            .expect("all is listed");
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_named_namespaces_are_watched() {
    let server = Server::default();
    for namespace in ["shop", "blog", "other"] {
        server.put(namespace, "pod", &spec());
    }
    let (named, seen) = watch(&server, &["shop", "blog"]);
    named.listed().whole().await;
    assert!(seen.has("shop", "pod") && seen.has("blog", "pod") && !seen.has("other", "pod"));

    let (all, seen) = watch(&server, &[]);
    all.listed().whole().await;
    assert!(seen.has("shop", "pod") && seen.has("other", "pod"));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_or_makes_its_reader_panic_stops_no_other() {
    let server = Server::default();
    server.put("shop", "bad", &json!({ "containers": "none" }));
    server.put("shop", "panics", &spec());
    server.put("shop", "good", &spec());
    let watch = Watch::new(server.client(), Places::All, &["Pod"]);
    let mut events = Box::pin(watch.objects::<Pod>(&fermata_daemon::watch::all()));
    let (mut unreadable, mut good) = (Vec::new(), Vec::new());
    while !watch.listed().is_whole() {
        let told = events.next().await.expect("a watch never ends");
        watch.hand(told, |told| match told {
            WatchEvent::There { object, listed } => {
                assert!(listed);
                let key = Key::of(&object);
                assert!(&*key.name != "panics", "on purpose");
                good.push(key);
            }
            WatchEvent::Unreadable(object) => {
                unreadable.push((Key::of_meta(&object.metadata), object.error));
            }
            WatchEvent::Listed(names) => {
                assert!(!names.lack(&Key::new("shop", "bad")));
                assert!(names.lack(&Key::new("shop", "never")));
            }
            WatchEvent::Gone { .. } | WatchEvent::Broke => panic!("nothing went"),
        });
    }
    assert_eq!(good, [Key::new("shop", "good")]);
    let names: Vec<&str> = unreadable.iter().map(|(key, _)| &*key.name).collect();
    assert_eq!(names, ["bad", "panics"]);
    assert!(unreadable[1].1.contains("on purpose"), "{unreadable:?}");
}
