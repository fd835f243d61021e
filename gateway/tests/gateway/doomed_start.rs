//! Starts that cannot succeed are told at once, in the cluster's words.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Behaviour, FunctionSpec, Harness, echo, until};

fn waiting(reason: &str, message: &str, restarts: u32) -> Value {
    json!({
        "phase": "Pending",
        "containerStatuses": [{
            "name": "function", "image": "", "imageID": "", "ready": false, "restartCount": restarts,
            "state": { "waiting": { "reason": reason, "message": message } },
            "lastState": { "terminated": { "exitCode": 1, "message": "cannot open database" } },
        }],
    })
}

async fn fails_at_once(harness: &Harness, words: &[&str]) {
    let begun = Instant::now();
    let answer = harness.get("f", "/").await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.reason(), "StartFailed");
    assert_eq!(answer.header("retry-after"), "10");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    for word in words {
        assert!(detail.contains(word), "{detail}");
    }
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_fails_and_a_mended_one_succeeds() {
    let stuck = Behaviour::Stuck(waiting("ErrImagePull", "manifest unknown", 0));
    let harness = Harness::with(&[FunctionSpec::cold("f", stuck)]).await;
    fails_at_once(&harness, &["ErrImagePull", "manifest unknown"]).await;
    fails_at_once(&harness, &["ErrImagePull"]).await;
    // The Deployment stays scaled; the registry is mended, and a new pod starts.
    harness.cluster.set_behaviour("f-00001", echo());
    for pod in harness.cluster.pods("f-00001") {
        harness.cluster.kill(&pod);
    }
    until("the mended function answers", async || {
        harness.get("f", "/").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_crash_loop_fails_with_its_last_words() {
    let stuck = Behaviour::Stuck(waiting("CrashLoopBackOff", "back-off 10s", 2));
    let harness = Harness::with(&[FunctionSpec::cold("f", stuck)]).await;
    fails_at_once(
        &harness,
        &["CrashLoopBackOff", "exit code 1", "cannot open database"],
    )
    .await;
}

#[tokio::test]
async fn a_quota_fails_with_the_clusters_sentence() {
    let harness = Harness::with(&[FunctionSpec::cold("f", Behaviour::Deaf)]).await;
    let refuse = async {
        harness.until_replicas("f-00001", 1).await;
        for pod in harness.cluster.pods("f-00001") {
            harness.cluster.api.change("pods", &pod, |pod| {
                pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            });
        }
        harness
            .cluster
            .api
            .change("deployments", "f-00001", |deployment| {
                deployment["status"] = json!({ "conditions": [{
                    "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
                    "message": "exceeded quota: compute, requested: pods=1",
                }]});
            });
    };
    tokio::join!(fails_at_once(&harness, &["exceeded quota"]), refuse);
}

#[tokio::test]
async fn a_function_that_cannot_be_built_fails_with_the_operators_sentence() {
    let harness = Harness::with(&[]).await;
    let function = FunctionSpec::cold("f", Behaviour::Deaf);
    harness.cluster.put_function(&function, "", None);
    harness.cluster.api.change("functions", "f", |function| {
        function["status"] = json!({
            "observedGeneration": 1,
            "conditions": [{
                "type": "Ready", "status": "False", "reason": "RuntimeNotFound",
                "message": "there is no Runtime cobol",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
        });
    });
    until("it is known", async || {
        harness.get("f", "/").await.status == 503
    })
    .await;
    fails_at_once(&harness, &["there is no Runtime cobol"]).await;
}
