//! Up under load, down when it is over, and nothing cut short on the way.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, channel::mpsc, future::join_all};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use serde_json::json;

use crate::support::{
    Behaviour, Connection, FunctionSpec, Harness, echo, full, respond_with, until,
};

/// Goes to zero as soon as it may.
fn eager() -> serde_json::Value {
    json!({ "window": "6s", "idleAfter": "1s" })
}

fn slow(duration: Duration) -> Behaviour {
    respond_with(move |_, pod| async move {
        tokio::time::sleep(duration).await;
        Response::builder()
            .header("pod", pod)
            .body(full("done"))
            .unwrap()
    })
}

#[tokio::test]
async fn an_idle_function_goes_to_zero_and_wakes_again() {
    let harness = Harness::with(&[FunctionSpec::cold("f", echo()).scale(eager())]).await;
    assert_eq!(harness.get("f", "/").await.status, 200);
    harness.until_replicas("f-00001", 0).await;
    assert_eq!(harness.get("f", "/").await.status, 200);
    let scales: Vec<u64> = harness
        .cluster
        .api
        .scales()
        .into_iter()
        .map(|(_, count)| count)
        .collect();
    assert_eq!(scales, [1, 0, 1]);
}

#[tokio::test]
async fn load_beyond_the_target_gets_more_replicas() {
    let function = FunctionSpec::cold("f", slow(Duration::from_millis(1500)))
        .scale(json!({ "target": 2, "utilization": 100, "max": 5 }));
    let harness = Harness::with(&[function]).await;
    let requests = join_all((0..30).map(|_| harness.get("f", "/")));
    let (answers, ()) = tokio::join!(requests, harness.until_replicas("f-00001", 5));
    assert!(answers.iter().all(|answer| answer.status == 200));
}

#[tokio::test]
async fn busy_instances_with_a_hard_limit_get_help() {
    let function = FunctionSpec::warm("f", slow(Duration::from_millis(300)))
        .template(json!({ "concurrency": 1 }))
        .scale(json!({ "max": 4 }));
    let harness = Harness::with(&[function]).await;
    let answers = join_all((0..12).map(|_| harness.get("f", "/"))).await;
    let mut pods: Vec<&str> = answers.iter().map(|answer| answer.header("pod")).collect();
    pods.sort_unstable();
    pods.dedup();
    assert_eq!(pods.len(), 4, "{pods:?}");
}

#[tokio::test]
async fn a_stream_keeps_its_instance_until_it_ends() {
    let (sender, chunks) = mpsc::unbounded::<Bytes>();
    let chunks = std::sync::Mutex::new(Some(chunks));
    let streaming = respond_with(move |_, _| {
        let chunks = chunks.lock().unwrap().take();
        async move {
            let chunks = chunks.unwrap().map(|chunk| Ok(Frame::data(chunk)));
            Response::new(StreamBody::new(chunks).boxed_unsync())
        }
    });
    let harness = Harness::with(&[FunctionSpec::cold("f", streaming).scale(eager())]).await;
    let asked = Request::get("/").header("host", "f.default.localhost");
    let mut connection = Connection::open(harness.data).await;
    let mut response = connection
        .send(asked.body(Empty::<Bytes>::new()).unwrap())
        .await
        .unwrap();
    // Much longer than the idle time.
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        sender.unbounded_send(Bytes::from("tick")).unwrap();
        assert_eq!(
            response
                .body_mut()
                .frame()
                .await
                .unwrap()
                .unwrap()
                .into_data()
                .unwrap(),
            "tick"
        );
    }
    assert_eq!(harness.cluster.pods("f-00001").len(), 1);
    drop(sender);
    assert!(response.body_mut().frame().await.is_none());
    harness.until_replicas("f-00001", 0).await;
}

#[tokio::test]
async fn a_pod_is_marked_before_it_goes() {
    let harness = Harness::with(&[FunctionSpec::cold("f", echo()).scale(eager())]).await;
    assert_eq!(harness.get("f", "/").await.status, 200);
    until("the pod is marked", async || {
        harness.cluster.api.all("pods").iter().any(|pod| {
            let annotations = &pod["metadata"]["annotations"];
            annotations["fermata.dev/draining"].is_string()
                && annotations["controller.kubernetes.io/pod-deletion-cost"] == "-1000"
        })
    })
    .await;
    // It still takes requests, there being no other.
    assert_eq!(harness.get("f", "/").await.status, 200);
}

#[tokio::test]
async fn requests_all_the_while_lose_nothing_on_the_way_down() {
    let function = FunctionSpec::warm("f", slow(Duration::from_millis(5)))
        .replicas(4)
        .scale(json!({ "window": "6s", "idleAfter": "1s", "min": 1 }));
    let harness = Harness::with(&[function]).await;
    let mut count = 0;
    let sending = async {
        loop {
            let answers = join_all((0..4).map(|_| harness.get("f", "/"))).await;
            count += answers.len();
            assert!(answers.iter().all(|answer| answer.status == 200));
        }
    };
    tokio::select! {
        () = sending => {}
        () = harness.until_replicas("f-00001", 1) => {}
    }
    assert!(count > 100);
}

#[tokio::test]
async fn a_floor_that_is_raised_is_met_at_once() {
    let function = FunctionSpec::cold("f", echo());
    let harness = Harness::with(std::slice::from_ref(&function)).await;
    let raised = function.scale(json!({ "min": 3 }));
    harness
        .cluster
        .api
        .change("revisions", "f-00001", |revision| {
            revision["spec"]["scale"] = raised.scale.clone();
        });
    harness.until_replicas("f-00001", 3).await;
}

#[tokio::test]
async fn a_retired_revision_goes_and_the_new_one_stays() {
    let old = FunctionSpec::warm("f", echo())
        .replicas(2)
        .scale(json!({ "min": 2 }));
    let harness = Harness::with(std::slice::from_ref(&old)).await;
    harness.cluster.add_revision(&old, "f-00002", true);
    harness
        .cluster
        .put_function(&old, "f-00002", Some("f-00002"));
    until("the new one answers", async || {
        harness
            .get("f", "/")
            .await
            .header("pod")
            .starts_with("f-00002")
    })
    .await;
    harness.until_replicas("f-00001", 0).await;
    assert_eq!(harness.cluster.pods("f-00002").len(), 2);
}
