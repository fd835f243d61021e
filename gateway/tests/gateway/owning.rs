//! Functions with a hard limit: one gateway owns each of them, whoever is asked.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fermata_daemon::admin::AdminOptions;
use futures::future::join_all;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::{
    Behaviour, FunctionSpec, Harness, RawClient, chat, echo, full, get, request, respond_with,
    until,
};

/// Works for a moment, and notes how many requests it ever worked on at once.
fn counting(most: &Arc<AtomicU32>) -> Behaviour {
    let (now, most) = (Arc::<AtomicU32>::default(), most.clone());
    respond_with(move |_, _| {
        let (now, most) = (now.clone(), most.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Response::new(full("done"))
        }
    })
}

fn limited(name: &'static str, behaviour: Behaviour) -> FunctionSpec {
    let scale = json!({ "max": 1, "target": 100 });
    FunctionSpec::cold(name, behaviour)
        .template(json!({ "concurrency": 1 }))
        .scale(scale)
}

fn gateway_pod(name: &str, address: SocketAddr) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "labels": { "app": "gateway" } },
        "spec": { "containers": [] },
        "status": {
            "phase": "Running", "podIP": address.ip().to_string(),
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}

/// Functions of which each of two gateways owns some.
const SPREAD: [&str; 8] = ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7"];

/// Two gateways with the same ports, on two addresses, that know of each other.
async fn two(functions: &[FunctionSpec]) -> (Harness, Harness) {
    let mut functions = functions.to_vec();
    functions.extend(SPREAD.map(|name| limited(name, echo())));
    let peers = |options: &mut fermata_gateway::Options, name: &str| {
        options.peer_selector = Some("app=gateway".to_owned());
        options.lease_namespace = "default".to_owned();
        options.identity = Some(name.to_owned());
    };
    let one = Harness::with_options(&functions, |options| peers(options, "one")).await;
    let (data, admin, internal) = (one.data, one.admin, one.internal);
    let two = one
        .another(|options| {
            peers(options, "two");
            options.listen = SocketAddr::from(([127, 0, 0, 2], data.port()));
            options.listen_internal = SocketAddr::from(([127, 0, 0, 2], internal.port()));
            options.admin = AdminOptions::at(SocketAddr::from(([127, 0, 0, 2], admin.port())));
        })
        .await;
    one.cluster.api.put("pods", gateway_pod("one", one.data));
    one.cluster.api.put("pods", gateway_pod("two", two.data));
    for gateway in [&one, &two] {
        until("it knows the other one", async || {
            for name in SPREAD {
                assert_eq!(gateway.get(name, "/").await.status, 200);
            }
            passed_on(gateway).await > 0
        })
        .await;
    }
    (one, two)
}

/// How many requests a gateway has passed on.
async fn passed_on(gateway: &Harness) -> u64 {
    let page = gateway.admin("/metrics").await;
    let name = "fermata_requests_passed_on_total ";
    let value = page.lines().find_map(|line| line.strip_prefix(name));
    value.expect("the metric is there").parse().unwrap()
}

#[tokio::test]
async fn a_hard_limit_holds_for_all_gateways_together() {
    let most = Arc::<AtomicU32>::default();
    let (one, two) = two(&[limited("f", counting(&most))]).await;
    let before = passed_on(&one).await + passed_on(&two).await;
    let calls = (0..60).map(|number| {
        let gateway = if number % 2 == 0 { &one } else { &two };
        gateway.get("f", "/")
    });
    for answer in join_all(calls).await {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text(), "done");
        for name in ["x-request-id", "server-timing"] {
            assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{name}");
        }
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
    let after = passed_on(&one).await + passed_on(&two).await;
    assert_eq!(
        after - before,
        30,
        "half of the calls came to the other gateway"
    );
    // Who works on a request counts it.
    let counted = "fermata_requests_total{namespace=\"default\",function=\"f\",code=\"200\"} 60";
    let pages = [one.admin("/metrics").await, two.admin("/metrics").await];
    assert_eq!(
        pages.iter().filter(|page| page.contains(counted)).count(),
        1
    );
}

/// Works on each request until it is let go, and notes how many it ever worked on at once.
fn held(most: &Arc<AtomicU32>, go: &Arc<Semaphore>) -> Behaviour {
    let (now, most, go) = (Arc::<AtomicU32>::default(), most.clone(), go.clone());
    respond_with(move |_, _| {
        let (now, most, go) = (now.clone(), most.clone(), go.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            go.acquire().await.unwrap().forget();
            now.fetch_sub(1, Ordering::SeqCst);
            Response::new(full("done"))
        }
    })
}

#[tokio::test]
async fn who_takes_a_function_over_counts_what_runs_already() {
    let (most, go) = (Arc::<AtomicU32>::default(), Arc::new(Semaphore::new(0)));
    let (one, two) = two(&[limited("f", held(&most, &go))]).await;
    // Four requests, of which one runs; wherever they came in, they wait at the gateway that owns it.
    let call = |gateway: &Harness| {
        let data = gateway.data;
        tokio::spawn(async move { get(data, "f.default.localhost", "/").await })
    };
    let mut calls: Vec<_> = [&one, &two, &one, &two].map(call).into();
    until("one runs", async || most.load(Ordering::SeqCst) == 1).await;
    // Both go and come back, one after the other, so that the function changes hands while it runs.
    for gone in [("one", &one), ("two", &two), ("one", &one)] {
        let mut pod = gateway_pod(gone.0, gone.1.data);
        pod["status"]["conditions"][0]["status"] = json!("False");
        one.cluster.api.put("pods", pod);
        calls.extend([&one, &two, &one, &two].map(call));
        // Whoever has it now has heard of those that came last.
        until("all wait", async || {
            let waiting = in_flight(&one).await + in_flight(&two).await;
            waiting >= calls.len() as u64
        })
        .await;
        one.cluster
            .api
            .put("pods", gateway_pod(gone.0, gone.1.data));
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
    go.add_permits(calls.len());
    for call in calls {
        let answer = call.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

/// How many requests for the function wait or run in a gateway, those that it passed on left out.
async fn in_flight(gateway: &Harness) -> u64 {
    let page = gateway.admin("/metrics").await;
    let value = page.lines().find_map(|line| {
        let rest = line.strip_prefix("fermata_requests_in_flight{")?;
        let (labels, value) = rest.split_once("} ")?;
        labels.contains("function=\"f\"").then_some(value)
    });
    value.map_or(0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn only_a_gateway_can_have_a_function_handed_over() {
    let harness = Harness::with(&[limited("f", echo())]).await;
    assert_eq!(harness.get("f", "/").await.status, 200);
    let ask = Request::post("/handover?default/f-00001").header("host", "localhost");
    let answer = request(harness.admin, ask.body(Empty::<Bytes>::new()).unwrap()).await;
    assert_eq!(answer.status, 403);
    let answer = get(harness.admin, "localhost", "/handover?default/f-00001").await;
    assert_eq!(answer.status, 400);
    assert_eq!(harness.get("f", "/").await.status, 200);
}

#[tokio::test]
async fn the_function_sees_the_caller_and_not_the_gateways() {
    let (one, two) = two(&[limited("f", echo())]).await;
    for gateway in [&one, &two] {
        let answer = get(gateway.data, "any.example", "/function/f/a/b?c=d").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let got = |name: &str| answer.headers[&format!("got-{name}")].to_str().unwrap();
        assert_eq!(got("target"), "/a/b?c=d");
        assert_eq!(got("host"), "any.example");
        assert_eq!(got("x-forwarded-for"), "127.0.0.1");
        assert_eq!(got("x-forwarded-host"), "any.example");
        assert!(!answer.headers.contains_key("got-x-fermata-passed-on"));
        assert_eq!(got("x-request-id"), answer.headers["x-request-id"]);
    }
}

#[tokio::test]
async fn bodies_go_through_both_gateways_in_either_protocol() {
    let h2c = json!({ "concurrency": 1, "protocol": "h2c" });
    let functions = [
        limited("http1", echo()),
        limited("h2c", echo()).template(h2c),
    ];
    let (one, two) = two(&functions).await;
    let body = Bytes::from(vec![b'x'; 300_000]);
    for function in ["http1", "h2c"] {
        let before = passed_on(&one).await + passed_on(&two).await;
        for gateway in [&one, &two] {
            let asked = Request::post("/")
                .header("host", format!("{function}.default.localhost"))
                .body(Full::new(body.clone()));
            let answer = request(gateway.data, asked.unwrap()).await;
            assert_eq!(answer.status, 200, "{function}");
            assert_eq!(answer.header("got-method"), "POST");
            assert!(answer.body == body, "{function}");
        }
        let after = passed_on(&one).await + passed_on(&two).await;
        assert_eq!(after - before, 1, "{function}");
    }
}

#[tokio::test]
async fn tunnels_go_through_both_gateways() {
    let (one, two) = two(&[limited("chat", chat())]).await;
    for gateway in [&one, &two] {
        // The only place is free again once the one before is closed.
        let mut client = RawClient::open(gateway.data).await;
        client
            .send("GET / HTTP/1.1\r\nhost: chat.default.localhost\r\nconnection: Upgrade\r\nupgrade: chat\r\n\r\n")
            .await;
        let head = client.read_until("welcome\n").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client.send("hello there").await;
        assert_eq!(client.read_until("there").await, "hello there");
    }
}

#[tokio::test]
async fn functions_of_an_owner_that_is_away_are_owned_by_another() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let functions = names.map(|name| limited(name, echo()));
    let one = Harness::with_options(&functions, |options| {
        options.peer_selector = Some("app=gateway".to_owned());
        options.lease_namespace = "default".to_owned();
        options.identity = Some("one".to_owned());
    })
    .await;
    one.cluster.api.put("pods", gateway_pod("one", one.data));
    // Nobody listens there, and the cluster has not noticed yet.
    let away = SocketAddr::from(([127, 0, 0, 3], 0));
    one.cluster.api.put("pods", gateway_pod("away", away));
    for name in names {
        assert_eq!(one.get(name, "/").await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn an_owner_waits_for_a_function_that_it_has_not_heard_of() {
    let (one, _two) = two(&[]).await;
    // What a gateway sends that has heard of the function already.
    let asked = Request::get("/")
        .header("host", "f.default.localhost")
        .header("x-fermata-passed-on", "1");
    let answer = request(one.data, asked.body(Empty::<Bytes>::new()).unwrap());
    let later = async {
        let absent = get(one.data, "f.default.localhost", "/").await;
        assert_eq!(absent.reason(), "NoSuchFunction");
        one.cluster.add(&limited("f", echo()));
    };
    let (answer, ()) = tokio::join!(answer, later);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn nobody_but_a_gateway_can_pass_requests_on() {
    let harness = Harness::with(&[limited("f", echo())]).await;
    let asked = Request::get("/")
        .header("host", "nobody.default.localhost")
        .header("x-fermata-passed-on", "1")
        .header("x-forwarded-for", "6.6.6.6");
    let answer = request(harness.data, asked.body(Empty::<Bytes>::new()).unwrap()).await;
    assert_eq!(answer.reason(), "NoSuchFunction", "it does not wait");
    let asked = Request::get("/")
        .header("host", "f.default.localhost")
        .header("x-fermata-passed-on", "1")
        .header("x-forwarded-for", "6.6.6.6");
    let answer = request(harness.data, asked.body(Empty::<Bytes>::new()).unwrap()).await;
    assert_eq!(answer.header("got-x-forwarded-for"), "127.0.0.1");
    assert!(!answer.headers.contains_key("got-x-fermata-passed-on"));
}
