//! What is kept, and what is told of it.

use super::{
    gateway::{Gateway, answer},
    *,
};

#[tokio::test]
async fn a_call_is_made_as_it_was_made_and_its_answer_is_there_afterwards() {
    let gateway = Gateway::answering(|_| {
        let mut answer = answer(201, "order 7");
        let headers = answer.headers_mut();
        headers.insert("content-type", "text/plain".parse().unwrap());
        headers.insert("set-cookie", "a=b".parse().unwrap());
        answer
    })
    .await;
    let kept = Kept::start(&gateway, None).await;
    let request = kept
        .call("orders", &json!({}))
        .header("prefer", "respond-async")
        .header("content-type", "application/json")
        .header("x-a", "1")
        .header("x-a", "2")
        .header("x-fermata-attempt", "9")
        .header("x-request-id", "r-1");
    let told = kept.ask(request, "{\"item\": 7}").await;
    assert_eq!(told.status, 202, "{told:?}");
    assert_eq!(told.headers["preference-applied"], "respond-async");
    let id = told.json()["id"].as_str().unwrap().to_owned();
    let location = format!("/.well-known/fermata/invocations/{id}");
    assert_eq!(told.headers["location"], location);
    assert_eq!(told.headers["x-call-id"], id);

    let state = kept.over(&id).await;
    assert_eq!(
        (&state["state"], &state["attempts"], &state["code"]),
        (&json!("Succeeded"), &json!(1), &json!(201))
    );
    let result = kept.request("GET", &format!("/invocations/{id}/result"));
    let result = kept.ask(result, "").await;
    assert_eq!(
        (result.status.as_u16(), &*result.body),
        (201, &b"order 7"[..])
    );
    assert_eq!(result.headers["content-type"], "text/plain");
    assert_eq!(result.headers["cache-control"], "no-store");
    assert!(!result.headers.contains_key("set-cookie"));

    let asked = gateway.asked();
    assert_eq!(asked.len(), 1);
    let (head, body) = (&asked[0].head, &asked[0].body);
    assert_eq!(
        (head.method.as_str(), &**body),
        ("POST", &b"{\"item\": 7}"[..])
    );
    assert_eq!(head.uri, "/orders?from=web");
    for (name, value) in [
        ("host", "orders.shop.svc"),
        ("content-type", "application/json"),
        ("x-request-id", "r-1"),
        ("x-fermata-invocation", &id),
        ("x-fermata-attempt", "1"),
        ("x-fermata-function-uid", "uid-of-orders"),
    ] {
        assert_eq!(head.headers[name], value, "{name}");
    }
    assert_eq!(head.headers.get_all("x-a").iter().count(), 2);
    for name in ["prefer", "x-fermata-entrance", "x-fermata-delivery"] {
        assert!(!head.headers.contains_key(name), "{name}");
    }
    kept.end().await;
}

#[tokio::test]
async fn what_is_kept_survives_a_crash_and_is_made_again_if_it_was_not_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("calls.redb");
    let silent = Gateway::start(|_| Box::pin(std::future::pending())).await;
    let kept = Kept::start(&silent, Some(&store)).await;
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(kept.keep("orders", &json!({}), &number.to_string()).await);
    }
    kept.until(&ids[0], |state| state["state"] == "Running")
        .await;
    kept.crash().await;

    let gateway =
        Gateway::answering(|asked| answer(200, &String::from_utf8_lossy(&asked.body))).await;
    let kept = Kept::start(&gateway, Some(&store)).await;
    for (number, id) in ids.iter().enumerate() {
        let state = kept.over(id).await;
        assert_eq!(state["state"], "Succeeded", "{state}");
        let result = kept.request("GET", &format!("/invocations/{id}/result"));
        assert_eq!(kept.ask(result, "").await.body, number.to_string());
    }
    kept.end().await;
}

#[tokio::test]
async fn a_key_makes_a_call_once() {
    let gateway = Gateway::answering(|_| answer(200, "")).await;
    let kept = Kept::start(&gateway, None).await;
    let keyed = || {
        kept.call("orders", &json!({}))
            .header("idempotency-key", "k-1")
    };
    let first = kept.ask(keyed(), "one").await.json();
    assert_eq!(kept.ask(keyed(), "one").await.json()["id"], first["id"]);
    let other = kept.ask(keyed(), "two").await;
    assert_eq!(other.status, 422, "{other:?}");
    assert_eq!(other.json()["reason"], "IdempotencyKeyReused");
    // So have others, who are told nothing of this call, and a later function of the name.
    let shown = keyed().header("authorization", "Bearer another");
    assert_ne!(kept.ask(shown, "one").await.json()["id"], first["id"]);
    let mut later = keyed();
    later
        .headers_mut()
        .unwrap()
        .insert("x-fermata-function-uid", "later".parse().unwrap());
    assert_ne!(kept.ask(later, "one").await.json()["id"], first["id"]);
    // A run of a trigger has its key to itself.
    let run = keyed().header("x-fermata-trigger", "nightly");
    let run = kept.ask(run, "two").await;
    assert_eq!(run.status, 202, "{run:?}");
    // It is the same run, though the trigger has been changed since.
    let again = keyed().header("x-fermata-trigger", "nightly");
    let again = kept.ask(again, "three").await;
    assert_eq!(again.json()["id"], run.json()["id"], "{again:?}");
    // Another function has keys of its own.
    let mails = kept
        .call("mails", &json!({}))
        .header("idempotency-key", "k-1");
    assert_eq!(kept.ask(mails, "two").await.status, 202);
    let id = first["id"].as_str().unwrap();
    kept.over(id).await;
    let asked = gateway.asked();
    let orders = asked
        .iter()
        .filter(|asked| asked.head.headers["host"] == "orders.shop.svc");
    assert_eq!(orders.count(), 4);
    // The function knows it too.
    assert!(
        asked
            .iter()
            .all(|asked| asked.head.headers["idempotency-key"] == "k-1")
    );
    kept.end().await;
}

#[tokio::test]
async fn it_is_told_where_it_came_in_and_in_the_name_of_its_function_alone() {
    let gateway = Gateway::answering(|_| answer(200, "<script>")).await;
    let kept = Kept::start(&gateway, None).await;
    let id = kept.keep("orders", &json!({}), "").await;
    kept.over(&id).await;
    for path in [
        format!("/invocations/{id}"),
        format!("/invocations/{id}/result"),
    ] {
        let internal = Request::builder()
            .uri(format!("http://{}{path}", kept.address))
            .header("x-fermata-entrance", "internal");
        assert_eq!(kept.ask(internal, "").await.status, 404);
        let owner = |uid: &str| {
            kept.request("GET", &path)
                .header("x-fermata-function-uid", uid)
        };
        assert_eq!(kept.ask(owner("uid-of-mails"), "").await.status, 404);
        assert_eq!(kept.ask(owner("uid-of-orders"), "").await.status, 200);
    }
    kept.end().await;
}
