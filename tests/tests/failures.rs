//! What goes wrong is told with the cluster's own sentence, disturbs nobody else, and is over when
//! it is mended.

use std::time::{Duration, Instant};

use fermata_tests::{Space, eventually};
use http::StatusCode;
use serde_json::json;

/// A function beside the broken one that must go on answering.
async fn neighbour(space: &Space) {
    space
        .test_function("neighbour", &["serve"], json!({}))
        .await;
    space.ready("neighbour").await;
}

#[tokio::test]
async fn an_image_that_cannot_be_run_is_told_and_fails_callers_at_once() {
    let space = Space::new().await;
    neighbour(&space).await;
    space
        .function(
            "broken",
            json!({"image": "registry.invalid/none:1", "scale": {"initial": 0}}),
        )
        .await;
    space.ready("broken").await;
    let started = Instant::now();
    let answer = space.call("broken", "").await;
    assert_eq!(
        (answer.status, answer.header("x-fermata-reason")),
        (StatusCode::SERVICE_UNAVAILABLE, "StartFailed"),
        "{}",
        answer.text()
    );
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "the callers waited for the clock"
    );
    assert!(
        answer.json()["detail"]
            .as_str()
            .unwrap()
            .contains("registry.invalid/none:1"),
        "{}",
        answer.text()
    );
    let reasons = ["ImagePullFailed"];
    eventually("the Function says why", async || {
        let status = space.get("broken").await.status.unwrap_or_default();
        let ready = status
            .conditions
            .into_iter()
            .find(|condition| condition.type_ == "Ready");
        match ready {
            Some(ready) if ready.status == "False" && reasons.contains(&ready.reason.as_str()) => {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(space.call("neighbour", "hi").await.ok().text(), "hi");
}

#[tokio::test]
async fn a_crash_at_start_is_told_with_its_last_words() {
    let space = Space::new().await;
    neighbour(&space).await;
    space
        .test_function("crashes", &["crashes"], json!({}))
        .await;
    let message = space.fails("crashes", "CrashLoop").await;
    assert!(message.contains("cannot open the database"), "{message}");
    let answer = space.call("crashes", "").await;
    assert_eq!(
        answer.header("x-fermata-reason"),
        "StartFailed",
        "{}",
        answer.text()
    );

    space.test_function("crashes", &["serve"], json!({})).await;
    space.ready("crashes").await;
    assert_eq!(space.call("crashes", "mended").await.ok().text(), "mended");
    assert_eq!(space.call("neighbour", "hi").await.ok().text(), "hi");
}

#[tokio::test]
async fn a_missing_config_map_is_told_and_then_found() {
    let space = Space::new().await;
    space
        .test_function(
            "needy",
            &["serve"],
            json!({"envFrom": [{"configMapRef": {"name": "settings"}}]}),
        )
        .await;
    let message = space.fails("needy", "ContainerFailed").await;
    assert!(
        message.contains("configmap \"settings\" not found"),
        "{message}"
    );
    space.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"COLOUR": "blue"}})).await;
    space.ready("needy").await;
    assert_eq!(
        space.fetch("needy", "/env/COLOUR").await.ok().text(),
        "blue"
    );
}

#[tokio::test]
async fn a_missing_runtime_is_told() {
    let space = Space::new().await;
    space
        .function(
            "cobol",
            json!({"source": {"runtime": "cobol-85", "files": {"main.cob": ""}}}),
        )
        .await;
    let message = space.fails("cobol", "RuntimeNotFound").await;
    assert!(message.contains("cobol-85"), "{message}");
}

#[tokio::test]
async fn a_quota_is_told_with_its_numbers() {
    let space = Space::new().await;
    space.apply(&json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})).await;
    space.test_function("poor", &["serve"], json!({})).await;
    let message = space.fails("poor", "QuotaExceeded").await;
    assert!(message.contains("exceeded quota"), "{message}");
    let answer = space.call("poor", "").await;
    assert!(
        answer.text().contains("exceeded quota"),
        "{}",
        answer.text()
    );
    space.apply(&json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "5"}}})).await;
    space.ready("poor").await;
    assert_eq!(space.call("poor", "rich").await.ok().text(), "rich");
}

#[tokio::test]
async fn two_functions_that_claim_one_host_do_not_disturb_each_other() {
    let space = Space::new().await;
    let host = format!("shop.{}.example", space.name);
    space
        .test_function("first", &["serve"], json!({"expose": {"hosts": [host]}}))
        .await;
    space.ready("first").await;
    // Creation times have seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    space
        .test_function("second", &["serve"], json!({"expose": {"hosts": [host]}}))
        .await;
    let (reason, message) = space.condition("second", "Routable", "False").await;
    assert_eq!(reason, "RouteConflict");
    assert!(
        message.contains(&host) && message.contains("first"),
        "{message}"
    );
    space.condition("first", "Routable", "True").await;
    // The loser still answers under its own name.
    assert_eq!(space.call("second", "hi").await.ok().text(), "hi");
    assert_eq!(
        space
            .gateway()
            .get_host(&host, "/env/FERMATA_FUNCTION")
            .await
            .ok()
            .text(),
        "first"
    );

    space
        .api::<fermata_crds::Function>()
        .delete("first", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    space.condition("second", "Routable", "True").await;
    eventually("the host leads to the other", async || {
        match space
            .gateway()
            .get_host(&host, "/env/FERMATA_FUNCTION")
            .await
            .text()
        {
            text if text == "second" => Ok(()),
            text => Err(text),
        }
    })
    .await;
}

#[tokio::test]
async fn a_function_that_never_listens_runs_out_its_start_clock() {
    let space = Space::new().await;
    space
        .test_function(
            "deaf",
            &["never-listens"],
            json!({"timeouts": {"start": "2s"}, "scale": {"initial": 0}}),
        )
        .await;
    space.ready("deaf").await;
    let answer = space.call("deaf", "").await;
    assert_eq!(
        (answer.status, answer.header("x-fermata-reason")),
        (StatusCode::GATEWAY_TIMEOUT, "StartTimeout"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn answers_that_are_none_are_told_apart() {
    let space = Space::new().await;
    neighbour(&space).await;
    space
        .test_function("garbage", &["garbage"], json!({}))
        .await;
    space.ready("garbage").await;
    let answer = space.call("garbage", "").await;
    assert_eq!(
        (answer.status, answer.header("x-fermata-reason")),
        (StatusCode::BAD_GATEWAY, "FunctionReset"),
        "{}",
        answer.text()
    );

    space.test_function("half", &["serve"], json!({})).await;
    space.ready("half").await;
    let request = http::Request::get(format!("{}/crash", space.path("half")))
        .body(http_body_util::Full::default())
        .unwrap();
    let broken = space.gateway().try_send(request).await;
    assert!(
        broken.is_err(),
        "half an answer must not look like a whole one: {broken:?}"
    );
    eventually("it is up again", async || {
        let answer = space.call("half", "hi").await;
        if answer.status == StatusCode::OK {
            Ok(())
        } else {
            Err(answer.text())
        }
    })
    .await;
    assert_eq!(space.call("neighbour", "hi").await.ok().text(), "hi");
}

#[tokio::test]
async fn each_clock_has_its_reason() {
    let space = Space::new().await;
    space
        .test_function(
            "slow",
            &["serve"],
            json!({"timeouts": {"request": "3s", "firstByte": "1s"}}),
        )
        .await;
    space.ready("slow").await;
    let answer = space.fetch("slow", "/sleep/5000").await;
    assert_eq!(
        (answer.status, answer.header("x-fermata-reason")),
        (StatusCode::GATEWAY_TIMEOUT, "FirstByteTimeout")
    );
    // The head is there in time, the rest is not: the answer breaks off.
    let request = http::Request::get(format!("{}/stream/100/100", space.path("slow")))
        .body(http_body_util::Full::default())
        .unwrap();
    assert!(space.gateway().try_send(request).await.is_err());
}

#[tokio::test]
async fn a_function_that_ignores_sigterm_still_goes() {
    let space = Space::new().await;
    space
        .test_function(
            "stubborn",
            &["ignores-sigterm"],
            json!({"timeouts": {"request": "1s"}}),
        )
        .await;
    space.ready("stubborn").await;
    space
        .api::<fermata_crds::Function>()
        .delete("stubborn", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    space.pods("stubborn", 0).await;
}

#[tokio::test]
async fn a_function_that_forks_away_is_a_crash() {
    let space = Space::new().await;
    space
        .test_function("forks", &["forks-away"], json!({}))
        .await;
    space.fails("forks", "CrashLoop").await;
}

#[tokio::test]
async fn a_pod_template_that_is_none_is_told() {
    let space = Space::new().await;
    space
        .function(
            "odd",
            json!({"image": "a", "podTemplate": {"spec": {"containers": "none"}}}),
        )
        .await;
    let message = space.fails("odd", "InvalidSpec").await;
    assert!(message.contains("podTemplate"), "{message}");
    space.test_function("odd", &["serve"], json!({})).await;
    space.ready("odd").await;
}
