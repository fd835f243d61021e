//! Callers who are told what became of their calls.

use super::{
    gateway::{Asked, Gateway, answer},
    *,
};

fn allow(options: &mut Options) {
    options.callback_allow = vec!["127.0.0.1".parse().unwrap()];
}

/// A function that answers so, in a header and a body.
async fn function(status: u16) -> Gateway {
    Gateway::answering(move |_| {
        let mut answer = answer(status, "seven");
        let headers = answer.headers_mut();
        headers.insert("content-type", "text/plain".parse().unwrap());
        headers.insert("x-call-id", "forged".parse().unwrap());
        answer
    })
    .await
}

impl Kept {
    async fn call_with_callback(&self, to: &Gateway, path: &str, delivery: &Value) -> Answer {
        let url = format!("http://{}{path}", to.authority());
        let call = self.call("orders", delivery).header("x-callback-url", url);
        self.ask(call, "body").await
    }

    /// The id of a call that is kept with a callback.
    async fn keep_with_callback(&self, to: &Gateway, path: &str, delivery: &Value) -> String {
        let told = self.call_with_callback(to, path, delivery).await;
        assert_eq!(told.status, 202, "{told:?}");
        told.json()["id"].as_str().unwrap().to_owned()
    }
}

/// What a receiver was asked, once there is so much.
async fn received(receiver: &Gateway, count: usize) -> Vec<Asked> {
    eventually(async || {
        let asked = receiver.asked();
        match asked.len() {
            found if found >= count => Ok(asked),
            found => Err(format!("{found} callbacks")),
        }
    })
    .await
}

#[tokio::test]
async fn the_answer_is_sent_to_who_wants_it_in_the_words_of_openfaas() {
    let (gateway, receiver) = (
        function(201).await,
        Gateway::answering(|_| answer(202, "")).await,
    );
    let kept = Kept::with(&gateway, None, allow).await;
    let id = kept
        .keep_with_callback(&receiver, "/done?a=b", &json!({}))
        .await;
    let state = kept.over(&id).await;
    assert_eq!(
        (&state["state"], &state["callback"]["state"]),
        (&json!("Succeeded"), &json!("Delivered")),
        "{state}"
    );
    assert_eq!(state["callback"]["host"], "127.0.0.1");
    assert_eq!(state["code"], 201);
    let asked = received(&receiver, 1).await;
    let (head, body) = (&asked[0].head, &asked[0].body);
    assert_eq!(
        (head.method.as_str(), head.uri.to_string(), &**body),
        ("POST", "/done?a=b".to_owned(), &b"seven"[..])
    );
    for (name, value) in [
        ("x-call-id", &*id),
        ("x-function-name", "orders.shop"),
        ("x-function-status", "201"),
        ("content-type", "text/plain"),
        ("host", receiver.authority().as_str()),
    ] {
        assert_eq!(head.headers[name], value, "{name}");
    }
    let seconds = head.headers["x-duration-seconds"].to_str().unwrap();
    assert!(seconds.parse::<f64>().unwrap() >= 0.0, "{seconds}");
    // The function hears nothing of it, and the answer is where it always is too.
    assert!(
        !gateway.asked()[0]
            .head
            .headers
            .contains_key("x-callback-url")
    );
    let result = kept.request("GET", &format!("/invocations/{id}/result"));
    assert_eq!(&*kept.ask(result, "").await.body, b"seven");
    kept.end().await;
}

#[tokio::test]
async fn it_is_sent_again_until_it_is_taken_and_after_a_crash_too() {
    let dir = tempfile::tempdir().unwrap();
    let (taken, store) = (dir.path().join("taken"), dir.path().join("calls.redb"));
    let there = taken.clone();
    let receiver = Gateway::answering(move |_| match there.exists() {
        true => answer(200, ""),
        false => answer(503, "later"),
    })
    .await;
    let gateway = function(200).await;
    let kept = Kept::with(&gateway, Some(&store), allow).await;
    let id = kept.keep_with_callback(&receiver, "/", &json!({})).await;
    received(&receiver, 1).await;
    let waits = kept
        .until(&id, |state| state["callback"]["attempts"] == 1)
        .await;
    assert_eq!(waits["state"], "Waiting", "{waits}");
    let result = kept.request("GET", &format!("/invocations/{id}/result"));
    assert_eq!(kept.ask(result, "").await.status, 409);
    kept.crash().await;

    std::fs::write(&taken, "").unwrap();
    let kept = Kept::with(&gateway, Some(&store), allow).await;
    let state = kept.over(&id).await;
    assert_eq!(
        (&state["state"], &state["callback"]["state"]),
        (&json!("Succeeded"), &json!("Delivered")),
        "{state}"
    );
    let last = received(&receiver, 2).await.pop().unwrap();
    assert_eq!(&*last.body, b"seven");
    assert_eq!(
        gateway.asked().len(),
        1,
        "the function is not called for it again"
    );
    kept.end().await;
}

#[tokio::test]
async fn what_will_never_be_taken_is_given_up_and_the_call_is_over_all_the_same() {
    for status in [400, 307] {
        let gateway = function(200).await;
        let receiver = Gateway::answering(move |_| {
            let mut answer = answer(status, "");
            let headers = answer.headers_mut();
            headers.insert("location", "http://169.254.169.254/".parse().unwrap());
            answer
        })
        .await;
        let kept = Kept::with(&gateway, None, allow).await;
        let id = kept.keep_with_callback(&receiver, "/", &json!({})).await;
        let state = kept.over(&id).await;
        assert_eq!(
            (&state["state"], &state["callback"]["state"]),
            (&json!("Succeeded"), &json!("GivenUp")),
            "{state}"
        );
        let message = state["callback"]["message"].as_str().unwrap();
        assert!(message.contains(&status.to_string()), "{message}");
        assert_eq!(receiver.asked().len(), 1);
        kept.end().await;
    }
}

#[tokio::test]
async fn a_call_that_failed_is_told_and_so_is_one_that_is_tried_anew() {
    let (gateway, receiver) = (
        function(422).await,
        Gateway::answering(|_| answer(200, "")).await,
    );
    let kept = Kept::with(&gateway, None, allow).await;
    let id = kept.keep_with_callback(&receiver, "/", &json!({})).await;
    assert_eq!(kept.over(&id).await["state"], "Failed");
    let redrive = kept.request("POST", &format!("/invocations/{id}/redrive"));
    assert_eq!(kept.ask(redrive, "").await.status, 202);
    let asked = received(&receiver, 2).await;
    for asked in asked {
        assert_eq!(asked.head.headers["x-function-status"], "422");
    }
    assert_eq!(kept.over(&id).await["state"], "Failed");
    assert_eq!(gateway.asked().len(), 2);
    kept.end().await;
}

#[tokio::test]
async fn whoever_calls_it_off_calls_off_the_callback() {
    let gateway = function(200).await;
    let receiver = Gateway::start(|_| Box::pin(std::future::pending())).await;
    let kept = Kept::with(&gateway, None, allow).await;
    let id = kept.keep_with_callback(&receiver, "/", &json!({})).await;
    received(&receiver, 1).await;
    let off = kept.request("DELETE", &format!("/invocations/{id}"));
    assert_eq!(kept.ask(off, "").await.status, 202);
    let state = kept.over(&id).await;
    assert_eq!(
        (&state["state"], &state["callback"]["state"]),
        (&json!("Succeeded"), &json!("GivenUp")),
        "{state}"
    );
    let result = kept.request("GET", &format!("/invocations/{id}/result"));
    assert_eq!(&*kept.ask(result, "").await.body, b"seven");
    kept.end().await;
}

#[tokio::test]
async fn an_answer_for_which_there_is_no_room_is_told_without_its_body() {
    let gateway = Gateway::answering(|_| answer(200, &"x".repeat(9000))).await;
    let receiver = Gateway::answering(|_| answer(200, "")).await;
    let kept = Kept::with(&gateway, None, |options| {
        allow(options);
        options.max_store_bytes = 16_000;
    })
    .await;
    for _ in 0..3 {
        let id = kept.keep_with_callback(&receiver, "/", &json!({})).await;
        let state = kept.over(&id).await;
        assert_eq!(state["callback"]["state"], "Delivered", "{state}");
    }
    for asked in received(&receiver, 3).await {
        assert_eq!(asked.body.len(), 0);
        assert_eq!(asked.head.headers["x-function-status"], "200");
        assert_eq!(asked.head.headers["x-fermata-reason"], "NoResult");
    }
    kept.end().await;
}

#[tokio::test]
async fn nobody_is_called_back_whom_nobody_has_allowed() {
    let gateway = function(200).await;
    let kept = Kept::with(&gateway, None, |options| {
        options.callback_allow = vec!["*.example.com".parse().unwrap()];
    })
    .await;
    for (url, status, reason) in [
        ("http://127.0.0.1/", 403, "CallbackNotAllowed"),
        ("http://169.254.169.254/latest", 403, "CallbackNotAllowed"),
        ("http://example.org/", 403, "CallbackNotAllowed"),
        ("file:///etc/passwd", 400, "BadRequest"),
        ("http://u:p@a.example.com/", 400, "BadRequest"),
        ("hello", 400, "BadRequest"),
    ] {
        let call = kept
            .call("orders", &json!({}))
            .header("x-callback-url", url);
        let refused = kept.ask(call, "").await;
        assert_eq!(refused.status, status, "{url} {refused:?}");
        assert_eq!(refused.headers["x-fermata-reason"], reason, "{url}");
    }
    let twice = kept
        .call("orders", &json!({}))
        .header("x-callback-url", "http://a.example.com/")
        .header("x-callback-url", "http://b.example.com/");
    assert_eq!(kept.ask(twice, "").await.status, 400);
    kept.end().await;
}

#[tokio::test]
async fn a_receiver_that_takes_nothing_delays_no_calls() {
    let gateway = function(200).await;
    let receiver = Gateway::start(|_| Box::pin(std::future::pending())).await;
    let kept = Kept::with(&gateway, None, allow).await;
    // More than all places of the function, for longer than a callback is waited for.
    for _ in 0..400 {
        kept.keep_with_callback(&receiver, "/", &json!({})).await;
    }
    // As many as there are places for.
    received(&receiver, 32).await;
    let id = kept.keep("orders", &json!({}), "").await;
    assert_eq!(kept.over(&id).await["state"], "Succeeded");
    kept.crash().await;
}
