//! Replicas follow the requests, and no request is lost while they do.

use std::time::Duration;

use fermata_tests::{Space, eventually};
use futures::future::join_all;
use http::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

#[tokio::test]
async fn a_thousand_first_requests_are_all_answered() {
    let space = Space::new().await;
    space
        .test_function(
            "burst",
            &["slow-start", "300"],
            json!({"scale": {"initial": 0, "max": 3}}),
        )
        .await;
    space.ready("burst").await;
    let answers =
        join_all((0..1000).map(|number| {
            let space = space.clone();
            async move {
                space.call("burst", &number.to_string()).await.ok().text() == number.to_string()
            }
        }))
        .await;
    assert!(answers.into_iter().all(|right| right));
}

#[tokio::test]
async fn a_full_queue_refuses_with_a_reason_and_a_time_to_try_again() {
    let space = Space::new().await;
    let spec = json!({"concurrency": 1, "scale": {"max": 1, "queue": 2}});
    space.test_function("narrow", &["serve"], spec).await;
    space.ready("narrow").await;
    let calls = (0..8).map(|_| space.fetch("narrow", "/sleep/2500"));
    let answers = join_all(calls).await;
    let (good, full): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|answer| answer.status == StatusCode::OK);
    assert_eq!(good.len(), 3, "one runs and two wait");
    for answer in full {
        assert_eq!(
            (answer.status, answer.header("x-fermata-reason")),
            (StatusCode::SERVICE_UNAVAILABLE, "QueueFull")
        );
        assert!(!answer.header("retry-after").is_empty());
    }
}

#[tokio::test]
async fn a_hard_limit_holds_whichever_gateway_is_asked() {
    let space = Space::new().await;
    let spec = json!({"concurrency": 1, "scale": {"max": 1}});
    space.test_function("single", &["serve"], spec).await;
    space.ready("single").await;
    // Each on a connection of its own, so that they meet all gateways.
    let calls = (0..40).map(|_| space.fetch("single", "/sleep/10"));
    for answer in join_all(calls).await {
        answer.ok();
    }
    assert_eq!(space.fetch("single", "/most").await.ok().text(), "1");
}

#[tokio::test]
async fn load_brings_replicas_and_its_end_takes_them_away_without_a_failure() {
    let space = Space::new().await;
    let spec = json!({"concurrency": 1, "scale": {"max": 3, "utilization": 100, "window": "6s", "idleAfter": "1s"}});
    space.test_function("busy", &["serve"], spec).await;
    space.ready("busy").await;
    let mut load = JoinSet::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    for _ in 0..3 {
        let (space, stopped) = (space.clone(), stopped.clone());
        load.spawn(async move {
            while !*stopped.borrow() {
                let _ = space.fetch("busy", "/sleep/100").await.ok();
            }
        });
    }
    eventually("there are three replicas", async || {
        let replicas = space
            .get("busy")
            .await
            .status
            .and_then(|status| status.ready_replicas)
            .unwrap_or(0);
        if replicas == 3 {
            Ok(())
        } else {
            Err(format!("{replicas} are ready"))
        }
    })
    .await;
    stop.send_replace(true);
    while let Some(ended) = load.join_next().await {
        ended.expect("no call failed");
    }
    // A long request keeps its replica while the others go.
    let long = tokio::spawn({
        let space = space.clone();
        async move { space.fetch("busy", "/sleep/8000").await }
    });
    assert_eq!(long.await.unwrap().ok().text(), "slept\n");
    space.at_zero("busy").await;
}

#[tokio::test]
async fn a_minimum_is_kept() {
    let space = Space::new().await;
    space
        .test_function(
            "warm",
            &["serve"],
            json!({"scale": {"min": 2, "idleAfter": "0s", "window": "6s"}}),
        )
        .await;
    space.ready("warm").await;
    eventually("there are two replicas", async || {
        let replicas = space
            .get("warm")
            .await
            .status
            .and_then(|status| status.ready_replicas)
            .unwrap_or(0);
        if replicas == 2 {
            Ok(())
        } else {
            Err(format!("{replicas} are ready"))
        }
    })
    .await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(space.pods("warm", 2).await.len(), 2);
}

#[tokio::test]
async fn answers_stream_as_they_come() {
    let space = Space::new().await;
    space.test_function("stream", &["serve"], json!({})).await;
    space.ready("stream").await;
    let started = std::time::Instant::now();
    let request = http::Request::get(format!("{}/stream/3/1000", space.path("stream")))
        .header("host", "x")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let stream = tokio::net::TcpStream::connect(space.platform.gateway)
        .await
        .unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut body = sender.send_request(request).await.unwrap().into_body();
    let first = http_body_util::BodyExt::frame(&mut body)
        .await
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap();
    assert_eq!(first, "line 0\n");
    assert!(
        started.elapsed() < Duration::from_millis(2800),
        "the first line waited for the last"
    );
}

#[tokio::test]
async fn a_function_sees_the_request_as_it_was() {
    let space = Space::new().await;
    space.test_function("mirror", &["serve"], json!({})).await;
    space.ready("mirror").await;
    let request = http::Request::builder()
        .method("PUT")
        .uri(format!(
            "{}/request/a%20b?x=1&y=%C3%A9",
            space.path("mirror")
        ))
        .header("host", "shop.example:8080")
        .header("x-own", "kept")
        .header("connection", "x-hop")
        .header("x-hop", "dropped")
        .body(http_body_util::Full::from("the body"))
        .unwrap();
    let answer = space.gateway().send(request).await.ok();
    let seen = answer.json();
    assert_eq!(
        (&seen["method"], &seen["uri"], &seen["body"]),
        (
            &json!("PUT"),
            &json!("/request/a%20b?x=1&y=%C3%A9"),
            &json!("the body")
        )
    );
    let headers = &seen["headers"];
    assert_eq!(
        (&headers["host"], &headers["x-own"], &headers["x-hop"]),
        (&json!("shop.example:8080"), &json!("kept"), &json!(null))
    );
    for name in [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-request-id",
        "traceparent",
    ] {
        assert!(headers[name].is_string(), "{name} is missing: {headers}");
    }
    assert_eq!(headers["x-request-id"], answer.header("x-request-id"));
    assert!(answer.header("server-timing").contains("function;dur="));
}

#[tokio::test]
async fn an_h2c_function_is_called_over_http_2() {
    let space = Space::new().await;
    space
        .test_function("modern", &["serve"], json!({"protocol": "h2c"}))
        .await;
    space.ready("modern").await;
    assert_eq!(
        space.fetch("modern", "/request").await.ok().json()["version"],
        "HTTP/2.0"
    );
}
