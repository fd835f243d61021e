//! What whoever a function belongs to does with its calls.

use super::{
    gateway::{Gateway, answer},
    *,
};

/// Fails until the file of this name is there.
async fn broken(mended: &std::path::Path) -> Gateway {
    let mended = mended.to_owned();
    Gateway::answering(move |_| match mended.exists() {
        true => answer(200, "mended"),
        false => answer(400, "broken"),
    })
    .await
}

impl Kept {
    fn owned(&self, method: &str, path: &str) -> http::request::Builder {
        self.request(method, &format!("/owned/shop/{path}"))
            .header("x-fermata-function-uid", "uid-of-orders")
    }

    async fn list(&self, path: &str) -> Value {
        let answer = self.ask(self.owned("GET", path), "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    async fn step(&self, path: &str) -> Value {
        let answer = self.ask(self.owned("POST", path), "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Keeps so many calls, and waits until all have failed.
    async fn failed(&self, calls: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for call in 0..calls {
            ids.push(
                self.keep("orders", &at_once(1), &format!("call {call}"))
                    .await,
            );
        }
        for id in &ids {
            assert_eq!(self.over(id).await["state"], "Failed");
        }
        ids
    }
}

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn calls_are_listed_in_parts_the_newest_first_and_after_a_restart_too() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = broken(&dir.path().join("mended")).await;
    let store = dir.path().join("calls.redb");
    let kept = Kept::start(&gateway, Some(&store)).await;
    let mut failed = kept.failed(7).await;
    kept.keep("mails", &at_once(1), "").await;
    failed.sort();
    failed.reverse();
    kept.end().await;

    let kept = Kept::start(&gateway, Some(&store)).await;
    let (mut all, mut path) = (Vec::new(), "orders?limit=3".to_owned());
    loop {
        let part = kept.list(&path).await;
        assert_eq!(part["failed"], 7, "{part}");
        assert!(ids(&part).len() <= 3, "{part}");
        all.extend(ids(&part));
        match part["continue"].as_str() {
            Some(behind) => path = format!("orders?limit=3&continue={behind}"),
            None => break,
        }
    }
    assert_eq!(all, failed);
    assert_eq!(ids(&kept.list("orders?state=failed").await), failed);
    for other in [
        "orders?state=succeeded",
        "orders?state=running",
        "nothing",
        "order",
    ] {
        assert_eq!(
            ids(&kept.list(other).await),
            Vec::<String>::new(),
            "{other}"
        );
    }
    let one = &kept.list("orders?limit=1").await["items"][0];
    assert_eq!(
        (&one["state"], &one["code"]),
        (&json!("Failed"), &json!(400))
    );
    kept.end().await;
}

#[tokio::test]
async fn a_call_is_shown_with_what_was_sent_but_for_its_secrets() {
    let gateway = Gateway::answering(|_| answer(400, "broken")).await;
    let kept = Kept::start(&gateway, None).await;
    let call = kept
        .call("orders", &at_once(1))
        .header("authorization", "Bearer hidden-token");
    let told = kept.ask(call, "seven").await.json();
    let id = told["id"].as_str().unwrap();
    kept.over(id).await;
    let shown = kept
        .ask(kept.owned("GET", &format!("orders/{id}")), "")
        .await;
    let text = String::from_utf8_lossy(&shown.body).into_owned();
    assert!(!text.contains("hidden-token"), "{text}");
    let shown = shown.json();
    let request = &shown["request"];
    assert_eq!(request["target"], "/orders?from=web", "{shown}");
    assert_eq!(request["bodyBytes"], 5);
    assert!(
        request["headers"]
            .as_array()
            .unwrap()
            .contains(&json!("authorization"))
    );
    let result = kept.owned("GET", &format!("orders/{id}/result"));
    let result = kept.ask(result, "").await;
    assert_eq!(
        (result.status.as_u16(), &*result.body),
        (400, &b"broken"[..])
    );
    // Another function's owner does not get to it, not even with its id.
    for path in ["mails", "mails.shop", "orders/x"] {
        let other = kept.owned("GET", &format!("{path}/{id}"));
        assert_eq!(kept.ask(other, "").await.status, 404, "{path}");
    }
    kept.end().await;
}

#[tokio::test]
async fn those_that_failed_are_tried_anew_step_by_step_and_each_once() {
    let dir = tempfile::tempdir().unwrap();
    let mended = dir.path().join("mended");
    let gateway = broken(&mended).await;
    let kept = Kept::start(&gateway, None).await;
    let failed = kept.failed(10).await;
    // Those that fail again are not tried a third time.
    let mut steps = Vec::new();
    let mut path = "orders/redrive?limit=4".to_owned();
    loop {
        let step = kept.step(&path).await;
        steps.push(step["done"].as_u64().unwrap());
        let until = step["until"].as_str().unwrap();
        match step["continue"].as_str() {
            Some(behind) => {
                path = format!("orders/redrive?limit=4&until={until}&continue={behind}");
            }
            None => break,
        }
    }
    assert_eq!(steps.iter().sum::<u64>(), 10, "{steps:?}");
    assert!(steps.iter().all(|step| *step <= 4), "{steps:?}");
    eventually(async || match gateway.asked().len() {
        20 => Ok(()),
        asked => Err(format!("{asked} requests")),
    })
    .await;
    for id in &failed {
        kept.over(id).await;
    }
    std::fs::write(&mended, "").unwrap();
    let one = kept.owned("POST", &format!("orders/{}/redrive", failed[0]));
    assert_eq!(kept.ask(one, "").await.status, 202);
    assert_eq!(kept.over(&failed[0]).await["state"], "Succeeded");
    assert_eq!(kept.step("orders/redrive").await["done"], 9);
    for id in &failed {
        assert_eq!(kept.over(id).await["state"], "Succeeded");
    }
    assert_eq!(kept.list("orders").await["failed"], 0);
    kept.end().await;
}

#[tokio::test]
async fn a_later_function_of_the_name_has_nothing_of_an_earlier_one() {
    let gateway = Gateway::answering(|_| answer(400, "broken")).await;
    let kept = Kept::start(&gateway, None).await;
    let failed = kept.failed(2).await;
    let later = |method: &str, path: &str| {
        kept.request(method, &format!("/owned/shop/orders{path}"))
            .header("x-fermata-function-uid", "uid-of-a-later-one")
    };
    let list = kept.ask(later("GET", ""), "").await.json();
    assert_eq!((ids(&list).len(), &list["failed"]), (0, &json!(0)));
    for step in ["/redrive", "/purge"] {
        let step = kept.ask(later("POST", step), "").await.json();
        assert_eq!(step["done"], 0, "{step}");
    }
    for (method, what) in [
        ("GET", ""),
        ("GET", "/result"),
        ("POST", "/cancel"),
        ("POST", "/redrive"),
        ("POST", "/purge"),
    ] {
        let one = later(method, &format!("/{}{what}", failed[0]));
        assert_eq!(kept.ask(one, "").await.status, 404, "{what}");
    }
    assert_eq!(ids(&kept.list("orders").await).len(), 2);
    // What does not say which function it means does not come from the gateway.
    let bare = kept.request("GET", "/owned/shop/orders");
    assert_eq!(kept.ask(bare, "").await.status, 400);
    kept.end().await;
}

#[tokio::test]
async fn what_is_purged_is_gone_for_good_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mended = dir.path().join("mended");
    let gateway = broken(&mended).await;
    let store = dir.path().join("calls.redb");
    let kept = Kept::start(&gateway, Some(&store)).await;
    let failed = kept.failed(5).await;
    std::fs::write(&mended, "").unwrap();
    let good = kept.keep("orders", &at_once(1), "").await;
    kept.over(&good).await;
    let refused = kept.owned("POST", &format!("orders/{good}/purge"));
    assert_eq!(kept.ask(refused, "").await.status, 409);
    let one = kept.owned("POST", &format!("orders/{}/purge", failed[0]));
    assert_eq!(kept.ask(one, "").await.status, 200);
    let gone = kept.owned("GET", &format!("orders/{}", failed[0]));
    assert_eq!(kept.ask(gone, "").await.status, 404);
    assert_eq!(kept.step("orders/purge?limit=3").await["done"], 3);
    assert_eq!(kept.step("orders/purge").await["failed"], 0);
    kept.end().await;

    let kept = Kept::start(&gateway, Some(&store)).await;
    assert_eq!(ids(&kept.list("orders").await), [good]);
    kept.end().await;
}

#[tokio::test]
async fn what_waits_and_runs_is_listed_as_such_and_called_off() {
    let gateway = Gateway::start(|_| Box::pin(std::future::pending())).await;
    let kept = Kept::with(&gateway, None, |options| options.concurrency = 4).await;
    for _ in 0..3 {
        kept.keep("orders", &json!({}), "").await;
    }
    let (running, waiting) = eventually(async || {
        let running = ids(&kept.list("orders?state=running").await);
        let waiting = ids(&kept.list("orders?state=waiting").await);
        match (running.len(), waiting.len()) {
            (1, 2) => Ok((running, waiting)),
            counts => Err(format!("{counts:?}")),
        }
    })
    .await;
    for id in waiting.iter().chain(&running) {
        let off = kept.owned("POST", &format!("orders/{id}/cancel"));
        let told = kept.ask(off, "").await;
        assert!(told.status.is_success(), "{told:?}");
    }
    for id in waiting.iter().chain(&running) {
        assert_eq!(kept.over(id).await["state"], "Cancelled");
    }
    assert_eq!(ids(&kept.list("orders?state=cancelled").await).len(), 3);
    kept.end().await;
}

#[tokio::test]
async fn what_makes_no_sense_to_its_owner_is_told_so() {
    let gateway = Gateway::answering(|_| answer(200, "")).await;
    let kept = Kept::start(&gateway, None).await;
    for (method, path, status) in [
        ("GET", "orders?state=dead", 400),
        ("GET", "orders?limit=none", 400),
        ("POST", "orders/redrive?until=soon", 400),
        ("PUT", "orders", 405),
        ("GET", "orders/redrive", 405),
        ("GET", "orders/7", 404),
        ("GET", "orders/019ac4f6-9ce0-7000-8000-000000000000", 404),
    ] {
        let answer = kept.ask(kept.owned(method, path), "").await;
        assert_eq!(answer.status, status, "{method} {path} {answer:?}");
        assert!(answer.headers.contains_key("x-fermata-reason"), "{path}");
    }
    kept.end().await;
}
