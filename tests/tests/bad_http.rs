//! Malformed and hostile HTTP gets a clear answer, or none, and disturbs nobody.

use std::time::Duration;

use fermata_tests::{Platform, Space};
use http::StatusCode;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Sends bytes and gives what comes back until the gateway closes or goes silent.
async fn raw(bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(Platform::shared().gateway)
        .await
        .unwrap();
    // The gateway may close while this is still being sent.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while let Ok(Ok(read @ 1..)) = timeout(Duration::from_secs(2), stream.read(&mut buffer)).await {
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    let _ = Platform::shared();
    for request in [
        "no http at all\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    ] {
        let answer = raw(request.as_bytes()).await;
        assert!(
            matches!(status(&answer), "400" | "none"),
            "{request:?}: {answer}"
        );
    }
}

#[tokio::test]
async fn headers_that_are_too_large_are_refused() {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Large: {}\r\n\r\n",
        "x".repeat(2 * 1024 * 1024)
    );
    assert_eq!(status(&raw(request.as_bytes()).await), "431");
}

#[tokio::test]
async fn an_unknown_function_is_told() {
    let gateway = Platform::shared().gateway();
    let answer = gateway.get("/function/nobody").await;
    assert_eq!(
        (answer.status, answer.header("x-fermata-reason")),
        (StatusCode::NOT_FOUND, "NoSuchFunction")
    );
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!(
        (&problem["status"], &problem["reason"]),
        (&json!(404), &json!("NoSuchFunction"))
    );
    assert_eq!(problem["requestId"], answer.header("x-request-id"));
    assert_eq!(
        gateway.get_host("nobody.example", "/").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(gateway.get("/").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn stalling_and_vanishing_clients_leave_no_trace() {
    let space = Space::new().await;
    space
        .test_function(
            "calm",
            &["serve"],
            json!({"concurrency": 1, "scale": {"max": 1}}),
        )
        .await;
    space.ready("calm").await;
    let path = space.path("calm");
    let mut stalled = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(space.platform.gateway).await.unwrap();
        stream
            .write_all(format!("GET {path} HT").as_bytes())
            .await
            .unwrap();
        stalled.push(stream);
    }
    // One that vanishes in the middle of its request gives back the only slot there is.
    for _ in 0..5 {
        let mut stream = TcpStream::connect(space.platform.gateway).await.unwrap();
        stream
            .write_all(
                format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
                    .as_bytes(),
            )
            .await
            .unwrap();
        drop(stream);
        let mut stream = TcpStream::connect(space.platform.gateway).await.unwrap();
        stream
            .write_all(format!("GET {path}/sleep/30000 HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .await
            .unwrap();
        drop(stream);
    }
    assert_eq!(
        space.call("calm", "still here").await.ok().text(),
        "still here"
    );
}

#[tokio::test]
async fn visibility_keeps_outsiders_out() {
    let space = Space::new().await;
    space
        .test_function(
            "inner",
            &["serve"],
            json!({"expose": {"visibility": "Cluster"}}),
        )
        .await;
    space.ready("inner").await;
    assert_eq!(
        space.call("inner", "hi").await.status,
        StatusCode::NOT_FOUND
    );
    let host = format!("inner.{}.svc.cluster.local", space.name);
    let path = "/env/FERMATA_FUNCTION";
    let answer = space.gateway().get_host(&host, path).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let answer = space
        .platform
        .internal_gateway()
        .get_host(&host, path)
        .await;
    assert_eq!(answer.ok().text(), "inner");
}

#[tokio::test]
async fn pipelined_and_chunked_requests_are_kept_apart() {
    let space = Space::new().await;
    space.test_function("pipe", &["serve"], json!({})).await;
    space.ready("pipe").await;
    let path = space.path("pipe");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n\
         POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\ntwo"
    );
    let answer = raw(request.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
    assert!(answer.find("one").unwrap() < answer.find("two").unwrap());
}
