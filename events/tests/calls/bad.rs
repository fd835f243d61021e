//! What makes no sense, or is too much.

use super::{
    gateway::{Gateway, answer},
    *,
};

#[tokio::test]
async fn what_is_too_large_is_refused_with_the_bound() {
    let gateway = Gateway::answering(|_| answer(200, &"x".repeat(101))).await;
    let kept = Kept::with(&gateway, None, |options| options.max_body_bytes = 100).await;
    let refused = kept
        .ask(kept.call("orders", &json!({})), &"x".repeat(101))
        .await;
    assert_eq!(refused.status, 413, "{refused:?}");
    assert_eq!(refused.headers["x-fermata-reason"], "PayloadTooLarge");
    assert!(
        refused.json()["detail"]
            .as_str()
            .unwrap()
            .contains("100 bytes")
    );
    // Whoever sends much hears it too.
    let refused = kept
        .ask(kept.call("orders", &json!({})), &"x".repeat(4_000_000))
        .await;
    assert_eq!(refused.status, 413, "{refused:?}");
    // So is the answer, which is not kept.
    let id = kept.keep("orders", &json!({}), &"x".repeat(100)).await;
    assert_eq!(kept.over(&id).await["state"], "Succeeded");
    let result = kept.request("GET", &format!("/invocations/{id}/result"));
    let result = kept.ask(result, "").await;
    assert_eq!(result.status, 404, "{result:?}");
    assert!(
        result.json()["detail"]
            .as_str()
            .unwrap()
            .contains("too large")
    );
    kept.end().await;
}

#[tokio::test]
async fn when_there_is_no_room_the_caller_is_told_and_nothing_is_kept() {
    let gateway = Gateway::start(|_| Box::pin(std::future::pending())).await;
    let kept = Kept::with(&gateway, None, |options| options.max_calls = 5).await;
    for _ in 0..5 {
        kept.keep("orders", &json!({}), "").await;
    }
    let refused = kept.ask(kept.call("orders", &json!({})), "").await;
    assert_eq!(refused.status, 507, "{refused:?}");
    assert_eq!(refused.headers["x-fermata-reason"], "BacklogFull");
    assert!(refused.headers.contains_key("retry-after"));
    let other = kept
        .request("POST", "/functions/other/orders/")
        .header("x-fermata-function-uid", "u-2")
        .header("x-fermata-delivery", "{}");
    assert_eq!(
        kept.ask(other, "").await.status,
        202,
        "others have their room"
    );
    kept.crash().await;
}

#[tokio::test]
async fn what_does_not_come_through_the_gateway_or_is_not_there_is_told_so() {
    let gateway = Gateway::answering(|_| answer(200, "")).await;
    let kept = Kept::start(&gateway, None).await;
    let bare = Request::post(format!("http://{}/functions/shop/orders/", kept.address));
    assert_eq!(kept.ask(bare, "").await.status, 400);
    let no_uid = kept.request("POST", "/functions/shop/orders/");
    assert_eq!(kept.ask(no_uid, "").await.status, 400);
    let garbage = kept
        .request("POST", "/functions/shop/orders/")
        .header("x-fermata-function-uid", "u")
        .header("x-fermata-delivery", "soon");
    assert_eq!(kept.ask(garbage, "").await.status, 400);
    for path in [
        "/",
        "/invocations/",
        "/invocations/7",
        "/invocations/019ac4f6-9ce0-7000-8000-000000000000",
        "/invocations/019ac4f6-9ce0-7000-8000-000000000000/result",
        "/invocations/019ac4f6-9ce0-7000-8000-000000000000/x",
        "/functions/shop",
    ] {
        let answer = kept.ask(kept.request("GET", path), "").await;
        assert_eq!(answer.status, 404, "{path} {answer:?}");
        assert!(answer.headers.contains_key("x-fermata-reason"));
    }
    let id = kept.keep("orders", &json!({}), "").await;
    let put = kept.request("PUT", &format!("/invocations/{id}"));
    let refused = kept.ask(put, "").await;
    assert_eq!(refused.status, 405);
    assert_eq!(refused.headers["allow"], "GET, HEAD, DELETE");
    let twice = kept
        .call("orders", &json!({}))
        .header("idempotency-key", "a")
        .header("idempotency-key", "b");
    assert_eq!(kept.ask(twice, "").await.status, 400);
    for key in ["", "a\tb", &"k".repeat(257)] {
        let keyed = kept
            .call("orders", &json!({}))
            .header("idempotency-key", key);
        assert_eq!(kept.ask(keyed, "").await.status, 400);
    }
    let callback = kept
        .call("orders", &json!({}))
        .header("x-callback-url", "http://169.254.169.254/");
    let refused = kept.ask(callback, "").await;
    assert_eq!(refused.status, 501, "{refused:?}");
    kept.end().await;
}

#[tokio::test]
async fn a_problem_is_told_under_the_name_of_its_request_and_in_the_terms_of_grpc() {
    let gateway = Gateway::answering(|_| answer(200, "")).await;
    let kept = Kept::start(&gateway, None).await;
    let asked = || {
        kept.request("GET", "/invocations/7")
            .header("x-request-id", "r-7")
    };
    let problem = kept.ask(asked(), "").await;
    assert_eq!(problem.status, 404);
    assert_eq!(problem.json()["requestId"], "r-7");
    let grpc = asked().header("content-type", "application/grpc+proto");
    let grpc = kept.ask(grpc, "").await;
    assert_eq!(grpc.status, 200, "{grpc:?}");
    assert_eq!(grpc.headers["content-type"], "application/grpc");
    assert_eq!(grpc.headers["grpc-status"], "5");
    assert_eq!(grpc.headers["x-fermata-reason"], "NoSuchInvocation");
    let message = grpc.headers["grpc-message"].to_str().unwrap();
    assert!(message.starts_with("NoSuchInvocation: "), "{message}");
    kept.end().await;
}

#[tokio::test]
async fn an_answer_that_is_not_there_yet_is_told_so() {
    let gateway = Gateway::start(|_| Box::pin(std::future::pending())).await;
    let kept = Kept::start(&gateway, None).await;
    let id = kept.keep("orders", &json!({}), "").await;
    let result = kept.request("GET", &format!("/invocations/{id}/result"));
    let result = kept.ask(result, "").await;
    assert_eq!(result.status, 409, "{result:?}");
    assert_eq!(result.headers["retry-after"], "1");
    let redrive = kept.request("POST", &format!("/invocations/{id}/redrive"));
    assert_eq!(kept.ask(redrive, "").await.status, 409);
    kept.crash().await;
}

#[tokio::test]
async fn a_store_has_one_process_and_a_port_too() {
    let gateway = Gateway::answering(|_| answer(200, "")).await;
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("calls.redb");
    let kept = Kept::start(&gateway, Some(&store)).await;
    let second = Events::bind(Options {
        store,
        ephemeral: false,
        ..Options::default()
    });
    let error = second.await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("another process"), "{error}: {cause}");
    let taken = Events::bind(Options {
        listen: kept.address.parse().unwrap(),
        ..Options::default()
    });
    let error = taken.await.unwrap_err().to_string();
    assert!(error.contains("--listen"), "{error}");
    kept.end().await;
}
