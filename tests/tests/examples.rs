//! Every manifest in `examples/` does what its first lines say. What has packages of a registry is in the suite
//! `dependencies`.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use aws_lc_rs::hmac;
use fermata_tests::{Answer, Space, eventually, examples};
use futures::{SinkExt as _, StreamExt as _, future::join_all};
use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

#[tokio::test]
async fn hello_greets() {
    let space = Space::new().await;
    space.apply_file(&examples("hello.yaml")).await;
    space.ready("hello").await;
    assert_eq!(
        space.call("hello", "world").await.ok().text(),
        "Hello, world!\n"
    );
    assert_eq!(space.call("hello", "").await.ok().text(), "Hello, world!\n");
}

#[tokio::test]
async fn the_json_api_reads_its_secret() {
    let space = Space::new().await;
    space.apply_file(&examples("json-api.yaml")).await;
    space.ready("quotes").await;
    let today = space.fetch("quotes", "/today").await.ok();
    assert_eq!(today.json()["text"], "Make haste slowly");
    assert_eq!(today.header("content-type"), "application/json");
    assert_eq!(
        space.fetch("quotes", "/tomorrow").await.status,
        StatusCode::NOT_FOUND
    );

    let post = |authorization: &str| {
        let body = Full::from(r#"{"text": "Festina lente"}"#);
        Request::post(format!("{}/tomorrow", space.path("quotes")))
            .header("authorization", authorization)
            .body(body)
            .unwrap()
    };
    let refused = space.gateway().send(post("Basic nonsense")).await;
    assert_eq!(
        (refused.status, refused.header("www-authenticate")),
        (StatusCode::UNAUTHORIZED, "Basic")
    );
    // admin:fermata
    assert_eq!(
        space
            .gateway()
            .send(post("Basic YWRtaW46ZmVybWF0YQ=="))
            .await
            .ok()
            .json()["text"],
        "Festina lente"
    );
}

#[tokio::test]
async fn orders_become_letters() {
    let space = Space::new().await;
    space.apply_file(&examples("order-pipeline.yaml")).await;
    for name in ["prices", "bills", "letters"] {
        space.ready(name).await;
    }
    let path = format!("/topics/orders.{}", space.name);
    let gateway = space.gateway();
    // Each gateway hears of the functions in its own time; what is sent before goes nowhere, and is sent again.
    let letters = eventually("an order has become a letter", async || {
        for order in [
            r#"{"item": "tea", "count": 3}"#,
            r#"{"item": "gold", "count": 1}"#,
        ] {
            let told = gateway.post(&path, order).await;
            if told.status != StatusCode::ACCEPTED {
                return Err(told.text());
            }
        }
        let letters = space.fetch("letters", "/").await.ok().text();
        if letters.is_empty() {
            Err(letters)
        } else {
            Ok(letters)
        }
    })
    .await;
    for letter in letters.lines() {
        assert_eq!(letter, "3 x tea: 12 EUR");
    }
}

#[tokio::test]
async fn numbers_are_squared_and_words_put_into_upper_case() {
    let space = Space::new().await;
    space
        .apply_file(&examples("square-and-uppercase.yaml"))
        .await;
    for name in ["square", "uppercase", "answers"] {
        space.ready(name).await;
    }
    let gateway = space.gateway();
    // As above: what is sent before all of them are heard of is sent again.
    eventually("both have answered", async || {
        for (topic, text) in [("numbers", "7"), ("words", "hello")] {
            let path = format!("/messages/{topic}.{}", space.name);
            let told = gateway.post(&path, text).await;
            if told.status != StatusCode::ACCEPTED {
                return Err(told.text());
            }
        }
        let answers = space.fetch("answers", "/").await.ok().text();
        let told = BTreeSet::from_iter(answers.lines());
        if told == BTreeSet::from(["square: 49", "uppercase: HELLO"]) {
            Ok(())
        } else {
            Err(answers)
        }
    })
    .await;
}

#[tokio::test]
async fn webhooks_are_taken_at_once_and_worked_on_until_that_succeeds() {
    let space = Space::new().await;
    space.apply_file(&examples("webhook-inbox.yaml")).await;
    space.ready("inbox").await;
    let gateway = space.gateway();
    let deliver = async |body: &'static str, signature: &str| {
        let path = format!("/async-function/inbox.{}", space.name);
        let request = Request::post(path)
            .header("x-hub-signature-256", signature)
            .body(Full::from(body));
        gateway.send(request.unwrap()).await
    };
    let body = r#"{"action": "opened"}"#;
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"key of the hook");
    let mac = hmac::sign(&key, body.as_bytes());
    let mac: String = mac.as_ref().iter().map(|b| format!("{b:02x}")).collect();

    let told = deliver(body, &format!("sha256={mac}")).await;
    assert_eq!(told.status, StatusCode::ACCEPTED, "{}", told.text());
    eventually("it is in the inbox", async || {
        match space.fetch("inbox", "/").await.ok().text() {
            inbox if inbox == "opened, at attempt 2\n" => Ok(()),
            inbox => Err(inbox),
        }
    })
    .await;
    let over = async |told: &Answer, outcome: (&str, u64, u64)| {
        eventually(&format!("it is {outcome:?}"), async || {
            let state = gateway.get(told.header("location")).await.ok().json();
            let number = |field: &str| state[field].as_u64().unwrap_or_default();
            let name = state["state"].as_str().unwrap_or_default();
            if (name, number("attempts"), number("code")) == outcome {
                Ok(())
            } else {
                Err(state.to_string())
            }
        })
        .await;
    };
    over(&told, ("Succeeded", 2, 204)).await;

    // Whoever does not know the key is told the same, and gets nowhere.
    let told = deliver(body, "sha256=0").await;
    assert_eq!(told.status, StatusCode::ACCEPTED, "{}", told.text());
    over(&told, ("Failed", 1, 401)).await;
    let inbox = space.fetch("inbox", "/").await.ok().text();
    assert_eq!(inbox, "opened, at attempt 2\n");
}

#[tokio::test]
async fn the_command_shouts() {
    let space = Space::new().await;
    space.apply_file(&examples("command.yaml")).await;
    space.ready("shout").await;
    assert_eq!(space.call("shout", "hello").await.ok().text(), "HELLO");
}

#[tokio::test]
async fn the_http_server_serves() {
    let space = Space::new().await;
    space.apply_file(&examples("http-server.yaml")).await;
    space.ready("files").await;
    let listing = space.fetch("files", "/").await.ok();
    assert!(
        listing.text().contains("Directory listing"),
        "{}",
        listing.text()
    );
}

#[tokio::test]
async fn one_start_serves_all_who_wait_for_it() {
    let space = Space::new().await;
    space.apply_file(&examples("slow-start.yaml")).await;
    space.ready("slow").await;
    let started = Instant::now();
    let calls = (0..20).map(|_| space.fetch("slow", "/"));
    for answer in join_all(calls).await {
        assert!(answer.ok().json()["running_for"].as_f64().is_some());
    }
    assert!(
        started.elapsed() >= Duration::from_secs(2),
        "nobody had to wait for the start"
    );
    assert_eq!(space.pods("slow", 1).await.len(), 1);
}

#[tokio::test]
async fn the_web_socket_echoes() {
    let space = Space::new().await;
    space.apply_file(&examples("websocket.yaml")).await;
    space.ready("echo").await;
    let request = format!("ws://{}{}", space.platform.gateway, space.path("echo"))
        .into_client_request()
        .unwrap();
    let stream = TcpStream::connect(space.platform.gateway).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    for text in ["one", "two", &"long ".repeat(40_000)] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
    }
    socket.close(None).await.unwrap();
}
