//! Calls that have failed and are published to a topic of dead letters.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{
    gateway::{Asked, Gateway, answer, refusal},
    *,
};

/// One attempt, and where a call goes that has failed.
fn buried_in(topic: &str) -> Value {
    let mut delivery = at_once(1);
    delivery["deadLetter"] = json!({"topic": topic});
    delivery
}

/// A function that fails, and a topic that takes what is published after so many refusals.
async fn failing(refusals: usize) -> Gateway {
    let asked_before = AtomicUsize::new(0);
    Gateway::answering(move |asked| {
        if asked.head.uri.path() != "/topics/dead.shop" {
            return answer(422, "no such item");
        }
        if asked_before.fetch_add(1, Ordering::Relaxed) < refusals {
            return answer(503, "later");
        }
        answer(202, "{}")
    })
    .await
}

/// What was published.
fn published(gateway: &Gateway) -> Vec<Asked> {
    let mut asked = gateway.asked();
    asked.retain(|asked| asked.head.uri.path() == "/topics/dead.shop");
    asked
}

#[tokio::test]
async fn a_call_that_has_failed_is_published_with_what_became_of_it() {
    let gateway = failing(1).await;
    let kept = Kept::start(&gateway, None).await;
    let call = kept
        .call("orders", &buried_in("dead"))
        .header("content-type", "text/plain")
        .header("authorization", "Bearer secret");
    let told = kept.ask(call, "seven").await;
    let id = told.json()["id"].as_str().unwrap().to_owned();
    let state = kept.over(&id).await;
    assert_eq!(state["state"], "Failed", "{state}");
    assert_eq!(
        state["deadLetter"],
        json!({"topic": "dead", "state": "Published", "attempts": 2, "message": null})
    );
    let asked = published(&gateway);
    assert_eq!(asked.len(), 2, "tried again, and then no more");
    let (head, body) = (&asked[1].head, &asked[1].body);
    assert_eq!((head.method.as_str(), &**body), ("POST", &b"seven"[..]));
    for (name, value) in [
        ("content-type", "text/plain"),
        ("ce-specversion", "1.0"),
        ("ce-type", "dev.fermata.dead-letter"),
        ("ce-source", "/namespaces/shop/functions/orders"),
        ("ce-subject", "POST%20/orders?from=web"),
        ("ce-deadfunction", "orders"),
        ("ce-deadcode", "422"),
        ("ce-deadattempts", "1"),
        (
            "ce-deadmessage",
            "the%20function%20has%20answered%20422:%20no%20such%20item",
        ),
        ("x-fermata-hops", "1"),
    ] {
        assert_eq!(head.headers[name], value, "{name}");
    }
    assert!(!head.headers.contains_key("authorization"));
    // The id of a call is the key to its answer, and not for those who hear of it.
    assert_ne!(head.headers["ce-id"], *id);
    let keys = |asked: &Asked| asked.head.headers["idempotency-key"].clone();
    assert_eq!(keys(&asked[0]), keys(&asked[1]));
    // It is kept all the same, and what fails once more is published once more.
    let result = kept.request("GET", &format!("/invocations/{id}/result"));
    assert_eq!(&*kept.ask(result, "").await.body, b"no such item");
    let redriven = kept.request("POST", &format!("/invocations/{id}/redrive"));
    assert_eq!(kept.ask(redriven, "").await.status, 202);
    kept.over(&id).await;
    let again = published(&gateway);
    assert_eq!(again.len(), 3);
    assert_ne!(keys(&again[2]), keys(&asked[0]));
    kept.end().await;
}

#[tokio::test]
async fn the_function_is_not_called_again_for_it_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("calls.redb");
    let gateway = failing(1).await;
    let kept = Kept::start(&gateway, Some(&store)).await;
    let id = kept.keep("orders", &buried_in("dead"), "seven").await;
    kept.until(&id, |state| state["deadLetter"]["attempts"] == 1)
        .await;
    kept.crash().await;
    let kept = Kept::start(&gateway, Some(&store)).await;
    let state = kept.over(&id).await;
    assert_eq!(
        (&state["state"], &state["deadLetter"]["state"]),
        (&json!("Failed"), &json!("Published")),
        "{state}"
    );
    assert_eq!(gateway.asked().len() - published(&gateway).len(), 1);
    kept.end().await;
}

#[tokio::test]
async fn what_cannot_be_published_is_kept_and_says_why() {
    for (reason, status, why) in [
        ("NoSuchTopic", 404, "no function hears the topic dead"),
        ("MessageLoop", 508, "508 the gateway says so"),
        ("PayloadTooLarge", 413, "413 the gateway says so"),
    ] {
        let gateway = Gateway::answering(move |asked| match asked.head.uri.path() {
            "/topics/dead.shop" => refusal(status, reason),
            _ => answer(422, "no such item"),
        })
        .await;
        let kept = Kept::start(&gateway, None).await;
        let id = kept.keep("orders", &buried_in("dead"), "seven").await;
        let state = kept.over(&id).await;
        assert_eq!(state["state"], "Failed");
        assert_eq!(
            state["deadLetter"],
            json!({"topic": "dead", "state": "GivenUp", "attempts": 1, "message": why})
        );
        kept.end().await;
    }
}

#[tokio::test]
async fn who_calls_off_the_publication_has_a_call_that_has_failed() {
    let gateway = failing(usize::MAX).await;
    let kept = Kept::start(&gateway, None).await;
    let id = kept.keep("orders", &buried_in("dead"), "seven").await;
    kept.until(&id, |state| state["deadLetter"]["attempts"] == 1)
        .await;
    let cancel = kept.request("DELETE", &format!("/invocations/{id}"));
    let told = kept.ask(cancel, "").await;
    assert!([200, 202].contains(&told.status.as_u16()), "{told:?}");
    let state = kept.over(&id).await;
    assert_eq!(
        (&state["state"], &state["deadLetter"]["state"]),
        (&json!("Failed"), &json!("GivenUp")),
        "{state}"
    );
    kept.end().await;
}

#[tokio::test]
async fn who_wants_to_be_told_is_told_when_it_is_published() {
    let gateway = failing(0).await;
    let receiver = Gateway::answering(|_| answer(200, "")).await;
    let allow = |options: &mut Options| options.callback_allow = vec!["127.0.0.1".parse().unwrap()];
    let kept = Kept::with(&gateway, None, allow).await;
    let url = format!("http://{}/", receiver.authority());
    let call = kept.call("orders", &buried_in("dead"));
    let told = kept.ask(call.header("x-callback-url", url), "seven").await;
    let id = told.json()["id"].as_str().unwrap().to_owned();
    let state = kept.over(&id).await;
    assert_eq!(
        (&state["deadLetter"]["state"], &state["callback"]["state"]),
        (&json!("Published"), &json!("Delivered")),
        "{state}"
    );
    assert_eq!(state["state"], "Failed");
    let asked = receiver.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].head.headers["x-function-status"], "422");
    assert_eq!(&*asked[0].body, b"no such item");
    kept.end().await;
}
