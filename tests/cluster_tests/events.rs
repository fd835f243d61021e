//! What keeps asynchronous calls, and what makes them, is killed and replaced while calls come in: none that was
//! accepted is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fermata_tests::{Cluster, Container, DEADLINE, Gateway, SYSTEM, eventually, eventually_within};
use http::Request;
use http_body_util::Full;
use serde_json::json;
use tokio::task::JoinHandle;

/// The pod that keeps calls.
const POD: &str = "fermata-events-0";

/// Calls that come in, one after the other, until they are to stop.
struct Callers {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<Vec<String>>,
}

impl Callers {
    fn start(gateway: Gateway, path: String) -> Self {
        let (stop, accepted) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (stopped, count) = (stop.clone(), accepted.clone());
        let task = tokio::spawn(async move {
            let mut locations = Vec::new();
            for number in 0_u32.. {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let body = Full::new(Bytes::from(number.to_string()));
                let request = Request::post(&path)
                    .header("prefer", "respond-async")
                    .body(body)
                    .expect("a request");
                // Who is told that a call is not kept has to try again; nothing else is promised.
                if let Ok(told) = gateway.try_send(request).await
                    && told.status == 202
                {
                    locations.push(told.header("location").to_owned());
                    count.fetch_add(1, Ordering::SeqCst);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            locations
        });
        Self {
            stop,
            accepted,
            task,
        }
    }

    /// Waits until so many more are accepted.
    async fn more(&self, calls: usize) {
        let before = self.accepted.load(Ordering::SeqCst);
        eventually_within(2 * DEADLINE, "more calls are accepted", async || {
            let now = self.accepted.load(Ordering::SeqCst);
            if now >= before + calls {
                Ok(())
            } else {
                Err(format!("{now} of {}", before + calls))
            }
        })
        .await;
    }
}

/// Waits for another container than this one to keep calls.
async fn another(cluster: &Cluster, before: &Container) -> Container {
    eventually_within(2 * DEADLINE, "calls are kept again", async || {
        let ready = cluster.replicas("events").await;
        let other = ready
            .into_iter()
            .find(|container| container.id != before.id);
        other.ok_or_else(|| format!("{before:?}"))
    })
    .await
}

#[tokio::test]
async fn no_call_that_was_accepted_is_lost_whoever_is_killed() {
    let cluster = Cluster::new().await;
    cluster.settled().await;
    let space = &cluster.space;
    let spec = json!({"scale": {"initial": 0, "max": 2}});
    space.test_function("work", &["serve"], spec).await;
    space.ready("work").await;
    let gateway = space.gateway();
    let callers = Callers::start(space.gateway(), space.path("work"));
    callers.more(50).await;

    let events = cluster.replicas("events").await;
    let [kept] = &*events else {
        panic!("one pod keeps calls: {events:?}");
    };
    cluster.kill(kept);
    let again = another(&cluster, kept).await;
    callers.more(50).await;
    cluster.kubectl(&["-n", SYSTEM, "delete", "pod", POD, "--wait=false"]);
    another(&cluster, &again).await;
    callers.more(50).await;
    let gateways = cluster.replicas("gateway").await;
    let first = gateways.first().expect("a gateway");
    cluster.kill(first);
    callers.more(50).await;

    callers.stop.store(true, Ordering::SeqCst);
    let locations = callers.task.await.expect("callers");
    for location in &locations {
        eventually_within(2 * DEADLINE, "the call is made", async || {
            let state = gateway.get(location).await;
            if state.status == 200 && state.json()["state"] == "Succeeded" {
                Ok(())
            } else {
                Err(format!("{location}: {} {}", state.status, state.text()))
            }
        })
        .await;
    }
    cluster.settled().await;
    let metrics = eventually("the numbers of calls", async || {
        let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{POD}:9092/proxy/metrics");
        cluster.try_kubectl(&["get", "--raw", &path])
    })
    .await;
    let finished = format!(
        "fermata_invocations_finished_total{{function=\"work\",namespace=\"{}\",state=\"succeeded\"}}",
        space.name
    );
    assert!(metrics.contains(&finished), "{metrics}");
}

#[tokio::test]
async fn what_keeps_calls_has_no_token_and_meets_restricted() {
    let cluster = Cluster::new().await;
    let pod = cluster.kubectl(&["-n", SYSTEM, "get", "pod", POD, "--output=json"]);
    let pod: serde_json::Value = serde_json::from_str(&pod).expect("JSON");
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
    let volumes = pod["spec"]["volumes"].as_array().expect("volumes");
    assert!(
        volumes
            .iter()
            .all(|volume| volume.get("projected").is_none()),
        "{volumes:?}"
    );
    // The namespace enforces `restricted`; so it would not be there otherwise.
    let namespace = cluster.kubectl(&["get", "namespace", SYSTEM, "--output=json"]);
    assert!(
        namespace.contains("\"pod-security.kubernetes.io/enforce\": \"restricted\""),
        "{namespace}"
    );
}
