//! Calls whose callers do not wait for the answer.

use std::collections::BTreeSet;

use bytes::Bytes;
use fermata_tests::{Answer, DEADLINE, Gateway, Space, eventually, eventually_within};
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

/// Answers with what it was sent, and with what it knows of the call; fails the first time for `/flaky`.
const ECHO: &str = r#"
seen = set()

def handle(request):
    call = request.headers.get("x-fermata-invocation", "-")
    attempt = request.headers.get("x-fermata-attempt", "-")
    if request.path == "/flaky" and call not in seen:
        seen.add(call)
        raise ValueError("not yet")
    if request.path == "/never":
        raise ValueError("never")
    return f"{request.method} {request.path} {attempt} {request.text()}"
"#;

fn echo(more: &Value) -> Value {
    let mut spec = json!({
        "source": {"runtime": "python", "files": {"main.py": ECHO}},
        "scale": {"max": 1},
        "delivery": {"attempts": 3, "backoff": {"first": "50ms", "max": "100ms"}},
    });
    let spec_of = spec.as_object_mut().unwrap();
    spec_of.extend(more.as_object().unwrap().clone());
    spec
}

fn request(gateway: &Gateway, method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", gateway.address.to_string())
}

async fn send(gateway: &Gateway, request: http::request::Builder, body: &str) -> Answer {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    gateway.send(request.body(body).unwrap()).await
}

/// Calls the function without waiting; returns where it is told what became of that.
async fn defer(space: &Space, function: &str, path: &str, body: &str) -> String {
    let gateway = space.gateway();
    let path = format!("{}{path}", space.path(function));
    let request = request(&gateway, "POST", &path).header("prefer", "respond-async");
    let told = send(&gateway, request, body).await;
    assert_eq!(told.status, 202, "{}", told.text());
    assert_eq!(told.header("preference-applied"), "respond-async");
    told.header("location").to_owned()
}

/// How the call stands once it is over.
async fn over(gateway: &Gateway, location: &str) -> Value {
    eventually_within(2 * DEADLINE, "the call is over", async || {
        let state = gateway.get(location).await;
        if state.status != 200 {
            return Err(state.text());
        }
        let state = state.json();
        if state["finishedAt"].is_string() {
            Ok(state)
        } else {
            Err(state.to_string())
        }
    })
    .await
}

#[tokio::test]
async fn a_call_wakes_the_function_and_its_answer_is_there_afterwards() {
    let space = Space::new().await;
    let spec = echo(&json!({"scale": {"initial": 0, "max": 1}}));
    space.function("echo", spec).await;
    space.ready("echo").await;
    let gateway = space.gateway();
    let location = defer(&space, "echo", "/orders?x=1", "seven").await;
    let state = over(&gateway, &location).await;
    assert_eq!(
        (&state["state"], &state["code"]),
        (&json!("Succeeded"), &json!(200))
    );
    let result = gateway.get(&format!("{location}/result")).await.ok();
    assert_eq!(result.text(), "POST /orders 1 seven");

    // The path of OpenFaaS does without the preference.
    let path = format!("/async-function/echo.{}/late", space.name);
    let told = send(&gateway, request(&gateway, "PUT", &path), "eight").await;
    assert_eq!(told.status, 202, "{}", told.text());
    let location = told.header("location").to_owned();
    over(&gateway, &location).await;
    let result = gateway.get(&format!("{location}/result")).await.ok();
    assert_eq!(result.text(), "PUT /late 1 eight");

    // Those who wait are answered as ever.
    assert_eq!(space.call("echo", "now").await.ok().text(), "POST / - now");
}

#[tokio::test]
async fn it_is_tried_again_and_kept_when_it_fails() {
    let space = Space::new().await;
    space.function("echo", echo(&json!({}))).await;
    space.ready("echo").await;
    let gateway = space.gateway();
    let flaky = defer(&space, "echo", "/flaky", "").await;
    let state = over(&gateway, &flaky).await;
    assert_eq!(
        (&state["state"], &state["attempts"]),
        (&json!("Succeeded"), &json!(2))
    );
    let never = defer(&space, "echo", "/never", "").await;
    let state = over(&gateway, &never).await;
    assert_eq!(
        (&state["state"], &state["attempts"], &state["code"]),
        (&json!("Failed"), &json!(3), &json!(500))
    );
    let result = gateway.get(&format!("{never}/result")).await;
    assert_eq!(result.status, 500, "{}", result.text());

    // Anew, as soon as it does better.
    let better = ECHO.replace("raise ValueError(\"never\")", "return \"at last\"");
    let source = json!({"source": {"runtime": "python", "files": {"main.py": better}}});
    space.function("echo", echo(&source)).await;
    eventually("the better code answers", async || {
        let answer = space.fetch("echo", "/never").await;
        if answer.status.is_success() {
            Ok(())
        } else {
            Err(answer.text())
        }
    })
    .await;
    let redrive = request(&gateway, "POST", &format!("{never}/redrive"));
    let told = send(&gateway, redrive, "").await;
    assert_eq!(told.status, 202, "{}", told.text());
    assert_eq!(over(&gateway, &never).await["state"], "Succeeded");
    let result = gateway.get(&format!("{never}/result")).await.ok();
    assert_eq!(result.text(), "at last");
}

#[tokio::test]
async fn many_wait_for_few_instances_and_none_is_lost() {
    let space = Space::new().await;
    let code =
        "import time\n\ndef handle(request):\n    time.sleep(0.1)\n    return request.text()\n";
    let spec = json!({
        "source": {"runtime": "python", "files": {"main.py": code}},
        "scale": {"initial": 0, "max": 2},
        "concurrency": 1,
    });
    space.function("slow", spec).await;
    space.ready("slow").await;
    let gateway = space.gateway();
    let mut locations = Vec::new();
    for number in 0..60 {
        locations.push(defer(&space, "slow", "", &number.to_string()).await);
    }
    let mut answers = BTreeSet::new();
    for location in &locations {
        let state = over(&gateway, location).await;
        assert_eq!(state["state"], "Succeeded", "{state}");
        let result = gateway.get(&format!("{location}/result")).await.ok();
        answers.insert(result.text());
    }
    assert_eq!(answers.len(), 60, "{answers:?}");
}

#[tokio::test]
async fn what_waits_is_scaled_for_and_each_call_is_made_once() {
    let space = Space::new().await;
    let code = "import time\n\ndef handle(request):\n    time.sleep(1)\n    \
                return f\"{request.headers['x-fermata-attempt']} {request.text()}\"\n";
    let spec = json!({
        "source": {"runtime": "python", "files": {"main.py": code}},
        "scale": {"initial": 0, "max": 5, "idleAfter": "5s", "window": "10s"},
        "concurrency": 1,
    });
    space.function("waits", spec).await;
    space.ready("waits").await;
    let gateway = space.gateway();
    let mut locations = Vec::new();
    for number in 0..60 {
        locations.push(defer(&space, "waits", "", &number.to_string()).await);
    }
    space.pods("waits", 5).await;
    let mut answers = BTreeSet::new();
    for location in &locations {
        let state = over(&gateway, location).await;
        assert_eq!(
            (&state["state"], &state["attempts"]),
            (&json!("Succeeded"), &json!(1)),
            "{state}"
        );
        let result = gateway.get(&format!("{location}/result")).await.ok();
        answers.insert(result.text());
    }
    let all: BTreeSet<String> = (0..60).map(|number| format!("1 {number}")).collect();
    assert_eq!(answers, all);
    space.at_zero("waits").await;
}

#[tokio::test]
async fn what_became_of_a_call_is_told_in_the_name_of_its_function_alone() {
    let space = Space::new().await;
    for name in ["echo", "other"] {
        space.function(name, echo(&json!({}))).await;
    }
    for name in ["echo", "other"] {
        space.ready(name).await;
    }
    let gateway = space.gateway();
    let location = defer(&space, "echo", "/", "x").await;
    over(&gateway, &location).await;
    let host = |name: &str| format!("{name}.{}.localhost", space.name);
    let own = gateway.get_host(&host("echo"), &location).await;
    assert_eq!(own.status, 200, "{}", own.text());
    for path in [location.clone(), format!("{location}/result")] {
        let other = gateway.get_host(&host("other"), &path).await;
        assert_eq!(other.status, 404, "{}", other.text());
    }
    // Nor where the call did not come in.
    let internal = space.platform.internal_gateway().get(&location).await;
    assert_eq!(internal.status, 404, "{}", internal.text());
}

#[tokio::test]
async fn one_that_waits_is_called_off_and_a_later_function_of_the_name_gets_none_of_it() {
    let space = Space::new().await;
    let broken = json!({"source": {"runtime": "python", "files": {"main.py": "raise ValueError('broken')"}}});
    space.function("echo", echo(&broken)).await;
    let gateway = space.gateway();
    eventually("the function is routed to", async || {
        let path = space.path("echo");
        let told = send(
            &gateway,
            request(&gateway, "POST", &path).header("prefer", "respond-async"),
            "first",
        )
        .await;
        if told.status == 202 {
            Ok(told.header("location").to_owned())
        } else {
            Err(told.text())
        }
    })
    .await;
    let waiting = defer(&space, "echo", "/", "second").await;
    let delete = request(&gateway, "DELETE", &waiting);
    let told = send(&gateway, delete, "").await;
    assert!(told.status.is_success(), "{}", told.text());
    assert_eq!(over(&gateway, &waiting).await["state"], "Cancelled");

    let left = defer(&space, "echo", "/", "third").await;
    space.remove("echo").await;
    space.function("echo", echo(&json!({}))).await;
    space.ready("echo").await;
    let state = eventually_within(2 * DEADLINE, "it has been tried", async || {
        let state = gateway.get(&left).await.json();
        let message = state["message"].as_str().unwrap_or_default();
        if message.contains("NoSuchFunction") {
            Ok(state)
        } else {
            Err(state.to_string())
        }
    })
    .await;
    assert_eq!(state["attempts"], 0, "{state}");
}

#[tokio::test]
async fn bad_calls_get_a_sentence_and_nothing_is_kept() {
    let space = Space::new().await;
    space.function("echo", echo(&json!({}))).await;
    space.ready("echo").await;
    let gateway = space.gateway();
    let path = space.path("echo");
    let deferred =
        |method: &str| request(&gateway, method, &path).header("prefer", "respond-async");
    let large = "x".repeat(1024 * 1024 + 1);
    let refused = send(&gateway, deferred("POST"), &large).await;
    assert_eq!(refused.status, 413, "{}", refused.text());
    assert!(
        refused.text().contains("1048576 bytes"),
        "{}",
        refused.text()
    );
    let unknown = format!("/async-function/nobody.{}", space.name);
    let refused = send(&gateway, request(&gateway, "POST", &unknown), "").await;
    assert_eq!(refused.header("x-fermata-reason"), "NoSuchFunction");
    let upgrade = deferred("GET")
        .header("connection", "upgrade")
        .header("upgrade", "websocket");
    let refused = send(&gateway, upgrade, "").await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    for id in ["7", "019ac4f6-9ce0-7000-8000-000000000000", "../../metrics"] {
        let location = format!("/.well-known/fermata/invocations/{id}");
        let refused = gateway.get(&location).await;
        assert_eq!(refused.status, 404, "{}", refused.text());
        assert_eq!(refused.header("x-fermata-reason"), "NoSuchInvocation");
    }
    // A key makes one call of several.
    let keyed = || deferred("POST").header("idempotency-key", "order-7");
    let first = send(&gateway, keyed(), "seven").await;
    let second = send(&gateway, keyed(), "seven").await;
    assert_eq!(first.header("location"), second.header("location"));
    let refused = send(&gateway, keyed(), "eight").await;
    assert_eq!(refused.status, 422, "{}", refused.text());
}

#[tokio::test]
async fn delivery_that_makes_no_sense_is_refused() {
    let space = Space::new().await;
    for (delivery, sentence) in [
        (json!({"attempts": 0}), "delivery.attempts must be between"),
        (
            json!({"attempts": 101}),
            "delivery.attempts must be between",
        ),
        (json!({"maxAge": "169h"}), "from 1s to 168h"),
        (json!({"backoff": {"first": "soon"}}), "from 10ms to 1h"),
        (json!({"backoff": {"max": "25h"}}), "from 10ms to 24h"),
        (
            json!({"backoff": {"first": "20s", "max": "1s"}}),
            "no longer than delivery.backoff.max",
        ),
        (
            json!({"deadLetter": {"topic": "Dead Letters"}}),
            "a topic's name has at most 63 characters",
        ),
        (json!({"deadLetter": {}}), "deadLetter.topic"),
    ] {
        let function = json!({
            "apiVersion": "fermata.dev/v1alpha1", "kind": "Function", "metadata": {"name": "echo"},
            "spec": echo(&json!({"delivery": delivery})),
        });
        let refused = space.try_apply(&function).await.unwrap_err().to_string();
        assert!(refused.contains(sentence), "{refused}");
    }
}
