//! Waking, queueing and admission.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use http::Response;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::{
    Behaviour, FunctionSpec, Harness, RawClient, echo, full, respond_with, until,
};

/// Holds each request until the test lets it go; tells how many are held, and the most at once.
fn held() -> (Behaviour, Arc<Semaphore>, Arc<AtomicU32>, Arc<AtomicU32>) {
    let gate = Arc::new(Semaphore::new(0));
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let behaviour = {
        let (gate, now, most) = (gate.clone(), now.clone(), most.clone());
        respond_with(move |_, pod| {
            let (gate, now, most) = (gate.clone(), now.clone(), most.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                now.fetch_sub(1, Ordering::SeqCst);
                Response::builder()
                    .header("pod", pod)
                    .body(full("ok"))
                    .unwrap()
            }
        })
    };
    (behaviour, gate, now, most)
}

fn queue_depth(count: usize) -> String {
    format!("fermata_queue_depth{{namespace=\"default\",function=\"f\"}} {count}\n")
}

async fn until_queued(harness: &Harness, count: usize) {
    let line = queue_depth(count);
    until(&line, async || {
        harness.admin("/metrics").await.contains(&line)
    })
    .await;
}

#[tokio::test]
async fn the_first_request_wakes_and_is_answered() {
    let harness = Harness::with(&[FunctionSpec::cold("f", echo())]).await;
    let answer = harness.get("f", "/").await;
    assert_eq!(answer.status, 200);
    assert_eq!(harness.cluster.api.scales(), [("f-00001".to_owned(), 1)]);
    assert!(
        !answer.header("server-timing").contains("start;dur=0,"),
        "{answer:?}"
    );
    until("the cold start is in the status", async || {
        let function = harness.cluster.api.get("functions", "f").unwrap();
        function["status"]["lastColdStart"]["revision"] == "f-00001"
    })
    .await;
    let function = harness.cluster.api.get("functions", "f").unwrap();
    assert_eq!(function["status"]["traffic"][0]["revision"], "f-00001");
    assert!(
        harness
            .admin("/metrics")
            .await
            .contains("fermata_cold_start_seconds_count")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_first_requests_are_all_answered_with_few_scale_writes() {
    let harness = Harness::with(&[FunctionSpec::cold("f", echo())]).await;
    let answers = join_all((0..1000).map(|_| harness.get("f", "/"))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let scales: Vec<u64> = harness
        .cluster
        .api
        .scales()
        .into_iter()
        .map(|(_, count)| count)
        .collect();
    assert!(scales.len() <= 4, "{scales:?}");
    assert!(scales.is_sorted(), "{scales:?}");
}

#[tokio::test]
async fn more_waiting_requests_ask_for_more_replicas() {
    let function = FunctionSpec::cold("f", Behaviour::Deaf)
        .template(json!({ "concurrency": 1 }))
        .scale(json!({ "max": 3, "utilization": 100 }));
    let harness = Harness::with(&[function]).await;
    let requests = join_all((0..2).map(|_| harness.get("f", "/")));
    let grown = async {
        harness.until_replicas("f-00001", 2).await;
        let more = join_all((0..5).map(|_| harness.get("f", "/")));
        tokio::select! {
            () = harness.until_replicas("f-00001", 3) => {}
            _ = more => panic!("answered by nobody"),
        }
    };
    tokio::select! {
        () = grown => {}
        _ = requests => panic!("answered by nobody"),
    }
}

#[tokio::test]
async fn a_first_revision_serves_as_soon_as_it_listens() {
    let harness = Harness::with(&[]).await;
    let function = FunctionSpec::cold("f", echo()).replicas(1);
    harness.cluster.put_function(&function, "f-00001", None);
    until("it is known", async || {
        tokio::time::timeout(Duration::from_millis(20), harness.get("f", "/"))
            .await
            .is_err()
    })
    .await;
    // Nothing tells of a request that waits for the first Revision but that it has no answer.
    let mut answer = std::pin::pin!(harness.get("f", "/"));
    let early = tokio::time::timeout(Duration::from_millis(50), answer.as_mut()).await;
    assert!(early.is_err(), "{early:?}");
    harness.cluster.add_revision(&function, "f-00001", false);
    assert_eq!(answer.await.status, 200);
}

#[tokio::test]
async fn nobody_gets_more_than_its_concurrency_and_the_rest_wait_in_order() {
    let (behaviour, gate, now, most) = held();
    let function = FunctionSpec::warm("f", behaviour)
        .template(json!({ "concurrency": 2 }))
        .scale(json!({ "max": 1 }));
    let harness = Harness::with(&[function]).await;
    let requests = join_all((0..7).map(|_| harness.get("f", "/")));
    let release = async {
        until_queued(&harness, 5).await;
        until("two run", async || now.load(Ordering::SeqCst) == 2).await;
        gate.add_permits(7);
    };
    let (answers, ()) = tokio::join!(requests, release);
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_full_queue_refuses_and_a_client_that_leaves_makes_room() {
    let (behaviour, gate, now, _) = held();
    let function = FunctionSpec::warm("f", behaviour)
        .template(json!({ "concurrency": 1 }))
        .scale(json!({ "max": 1, "queue": 1 }));
    let harness = Harness::with(&[function]).await;
    let ask = "GET / HTTP/1.1\r\nhost: f.default.localhost\r\n\r\n";
    let mut running = RawClient::open(harness.data).await;
    running.send(ask).await;
    until("the first one runs", async || {
        now.load(Ordering::SeqCst) == 1
    })
    .await;
    let mut waiting = RawClient::open(harness.data).await;
    waiting.send(ask).await;
    until_queued(&harness, 1).await;

    let refused = harness.get("f", "/").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.reason(), "QueueFull");
    assert_eq!(refused.header("retry-after"), "1");

    drop(waiting);
    until_queued(&harness, 0).await;
    let mut next = RawClient::open(harness.data).await;
    next.send(ask).await;
    until_queued(&harness, 1).await;

    // The one that runs leaves too: its place goes to the one that waits.
    drop(running);
    gate.add_permits(10);
    assert!(next.read_until("ok").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn what_does_not_start_in_time_is_told_so() {
    let function = FunctionSpec::cold("f", Behaviour::Deaf)
        .template(json!({ "timeouts": { "start": "100ms" } }));
    let harness = Harness::with(&[function]).await;
    let answer = harness.get("f", "/").await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.reason(), "StartTimeout");
    let detail = answer.json()["detail"].to_string();
    assert!(detail.contains("nothing listens on $PORT ("), "{detail}");
}

#[tokio::test]
async fn what_never_becomes_ready_is_told_so() {
    let unready =
        respond_with(|_, _| async { Response::builder().status(500).body(full("")).unwrap() });
    let function = FunctionSpec::cold("f", unready).template(json!({
        "timeouts": { "start": "300ms" },
        "readinessProbe": { "httpGet": { "port": "http", "path": "/ready" } },
    }));
    let harness = Harness::with(&[function]).await;
    let answer = harness.get("f", "/").await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.reason(), "StartTimeout");
    let detail = answer.json()["detail"].to_string();
    assert!(
        detail.contains("readiness probe does not succeed"),
        "{detail}"
    );
}

#[tokio::test]
async fn an_http_probe_decides_when_requests_may_come() {
    let probes = Arc::new(AtomicU32::new(0));
    let counted = probes.clone();
    let behaviour = respond_with(move |request, _| {
        let probes = counted.clone();
        async move {
            let ready =
                request.uri().path() != "/ready" || probes.fetch_add(1, Ordering::SeqCst) >= 3;
            let status = if ready { 200 } else { 503 };
            Response::builder().status(status).body(full("")).unwrap()
        }
    });
    let function = FunctionSpec::cold("f", behaviour).template(json!({
        "readinessProbe": { "httpGet": { "port": "http", "path": "/ready" } },
    }));
    let harness = Harness::with(&[function]).await;
    assert_eq!(harness.get("f", "/").await.status, 200);
    assert_eq!(probes.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_pod_that_the_cluster_must_probe_gets_requests_when_it_is_ready() {
    let function = FunctionSpec::cold("f", echo()).template(json!({
        "readinessProbe": { "exec": { "command": ["true"] } },
    }));
    let harness = Harness::with(&[function]).await;
    assert_eq!(harness.get("f", "/").await.status, 200);
}

#[tokio::test]
async fn while_the_api_server_is_down_the_warm_answer_and_the_cold_wait() {
    let functions = [
        FunctionSpec::warm("warm", echo()),
        FunctionSpec::cold("cold", echo()),
    ];
    let harness = Harness::with(&functions).await;
    assert_eq!(harness.get("warm", "/").await.status, 200);
    harness.cluster.api.set_down(true);
    let cold = harness.get("cold", "/");
    let warm = async {
        for _ in 0..20 {
            assert_eq!(harness.get("warm", "/").await.status, 200);
        }
        let line = "fermata_queue_depth{namespace=\"default\",function=\"cold\"} 1";
        until(line, async || {
            harness.admin("/metrics").await.contains(line)
        })
        .await;
        harness.cluster.api.set_down(false);
    };
    let (cold, ()) = tokio::join!(cold, warm);
    assert_eq!(cold.status, 200);
}

#[tokio::test]
async fn waiting_requests_follow_the_traffic() {
    let old = FunctionSpec::cold("f", Behaviour::Deaf);
    let harness = Harness::with(std::slice::from_ref(&old)).await;
    let moved = async {
        until_queued(&harness, 3).await;
        let new = FunctionSpec::warm("f", echo());
        harness.cluster.add_revision(&new, "f-00002", true);
        harness
            .cluster
            .put_function(&new, "f-00002", Some("f-00002"));
    };
    let (answers, ()) = tokio::join!(join_all((0..3).map(|_| harness.get("f", "/"))), moved);
    for answer in answers {
        assert_eq!(answer.status, 200);
        assert!(answer.header("pod").starts_with("f-00002"));
    }
}
