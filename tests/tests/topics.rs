//! Messages are published to topics, and functions hear them.

use bytes::Bytes;
use fermata_tests::{Answer, DEADLINE, Gateway, Space, eventually, eventually_within, fermata};
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

/// Tells what it was sent, a line each; fails the first time for data that say so.
const HEARER: &str = r#"
heard = []
failed = set()

def handle(request):
    if request.method == "GET":
        return "\n".join(heard)
    name, text = request.headers["ce-id"], request.text()
    if text == "flaky" and name not in failed:
        failed.add(name)
        raise ValueError("not yet")
    kind = request.headers["ce-type"]
    heard.append(f"{request.path} {name} {kind} {text}")
"#;

fn hearer(triggers: &Value, more: &Value) -> Value {
    let mut spec = json!({
        "source": {"runtime": "python", "files": {"main.py": HEARER}},
        "scale": {"initial": 0, "max": 1},
        "triggers": triggers,
        "delivery": {"attempts": 3, "backoff": {"first": "50ms", "max": "100ms"}},
    });
    let members = spec.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    spec
}

fn message(gateway: &Gateway, path: &str) -> http::request::Builder {
    Request::builder()
        .method("POST")
        .uri(path)
        .header("host", gateway.address.to_string())
}

async fn send(gateway: &Gateway, request: http::request::Builder, body: &str) -> Answer {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    gateway.send(request.body(body).unwrap()).await
}

/// Publishes an event in binary mode, until all gateways know of so many triggers that hear it.
async fn publish(space: &Space, topic: &str, (id, kind): (&str, &str), data: &str, heard_by: u64) {
    let gateway = space.gateway();
    let path = format!("/topics/{topic}.{}", space.name);
    eventually("it is published", async || {
        let event = message(&gateway, &path)
            .header("ce-specversion", "1.0")
            .header("ce-source", "/test")
            .header("ce-id", id)
            .header("ce-type", kind)
            .header("content-type", "text/plain");
        let told = send(&gateway, event, data).await;
        if told.status != 202 {
            return Err(told.text());
        }
        let told = told.json();
        let count = |name: &str| told[name].as_u64().unwrap();
        // The same id again goes to nobody twice.
        if count("deliveries") + count("duplicates") == heard_by {
            Ok(())
        } else {
            Err(told.to_string())
        }
    })
    .await;
}

/// Publishes several events at once, as soon as somebody hears the topic.
async fn publish_batch(space: &Space, topic: &str, events: &[Value]) {
    let (gateway, batch) = (space.gateway(), json!(events).to_string());
    let path = format!("/topics/{topic}.{}", space.name);
    eventually("it is published", async || {
        let request =
            message(&gateway, &path).header("content-type", "application/cloudevents-batch+json");
        match send(&gateway, request, &batch).await {
            told if told.status == 202 => Ok(()),
            told => Err(told.text()),
        }
    })
    .await;
}

/// What the function has heard, once it is that, in whatever order.
async fn heard(space: &Space, function: &str, lines: &[&str]) {
    let mut expected = lines.to_vec();
    expected.sort_unstable();
    eventually_within(2 * DEADLINE, &format!("{function} hears it"), async || {
        let answer = space.fetch(function, "/").await;
        let text = answer.text();
        let mut heard: Vec<&str> = text.lines().collect();
        heard.sort_unstable();
        if answer.status == 200 && heard == expected {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await;
}

#[tokio::test]
async fn each_function_hears_what_it_wants_to_hear_and_is_woken_for_it() {
    let space = Space::new().await;
    let all = json!([{"name": "all", "topic": {"name": "orders"}, "path": "/in?x=1"}]);
    space.function("bills", hearer(&all, &json!({}))).await;
    let some = json!([
        {"name": "new", "topic": {"name": "orders", "filter": {"type": "order.created"}}},
        {"name": "returns", "topic": {"name": "returns"}, "path": "/returns"},
    ]);
    space.function("mails", hearer(&some, &json!({}))).await;
    for name in ["bills", "mails"] {
        space.ready(name).await;
    }
    publish(&space, "orders", ("1", "order.created"), "one", 2).await;
    publish(&space, "orders", ("2", "order.paid"), "flaky", 1).await;
    publish(&space, "returns", ("3", "return"), "three", 1).await;
    heard(
        &space,
        "bills",
        &["/in 1 order.created one", "/in 2 order.paid flaky"],
    )
    .await;
    heard(
        &space,
        "mails",
        &["/ 1 order.created one", "/returns 3 return three"],
    )
    .await;

    // Structured, and several at once, by the path of riff.
    let gateway = space.gateway();
    let event = |id: &str| json!({"specversion": "1.0", "id": id, "source": "/test", "type": "order.paid", "data": [7]});
    let batch = json!([event("4"), event("5")]).to_string();
    let request = message(&gateway, &format!("/messages/orders.{}", space.name))
        .header("content-type", "application/cloudevents-batch+json");
    let told = send(&gateway, request, &batch).await;
    assert_eq!(
        (told.status.as_u16(), &told.json()["deliveries"]),
        (202, &json!(2))
    );
    heard(
        &space,
        "bills",
        &[
            "/in 1 order.created one",
            "/in 2 order.paid flaky",
            "/in 4 order.paid [7]",
            "/in 5 order.paid [7]",
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_answered_is_heard_by_the_next() {
    let space = Space::new().await;
    let answers = r#"
def handle(request):
    return {"total": 7}, 200, {"ce-type": "bill"}
"#;
    let orders = json!([{"name": "orders", "topic": {"name": "orders"}}]);
    let more = json!({
        "source": {"runtime": "python", "files": {"main.py": answers}},
        "output": {"topic": "bills"},
    });
    space.function("biller", hearer(&orders, &more)).await;
    let bills = json!([{"name": "bills", "topic": {"name": "bills", "filter": {"type": "bill"}}}]);
    space.function("mailer", hearer(&bills, &json!({}))).await;
    for name in ["biller", "mailer"] {
        space.ready(name).await;
    }
    // Until all gateways know who hears it.
    publish(&space, "bills", ("0", "other"), "", 0).await;
    publish(&space, "orders", ("1", "order"), "one", 1).await;
    let line = eventually_within(2 * DEADLINE, "the bill is heard", async || {
        let text = space.fetch("mailer", "/").await.text();
        if text.ends_with("bill {\"total\":7}") {
            Ok(text)
        } else {
            Err(text)
        }
    })
    .await;
    assert_eq!(line.lines().count(), 1, "{line}");
}

#[tokio::test]
async fn the_trace_of_a_publisher_goes_on_through_functions_and_their_answers() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let space = Space::new().await;
    let code = r#"
heard = []

def handle(request):
    if request.method == "GET":
        return "\n".join(heard)
    trace = request.headers["traceparent"]
    heard.append(f"{trace} {request.headers['tracestate']} {request.headers['baggage']}")
    return request.text(), 200, {"ce-type": "traced"}
"#;
    let of = |topic: &str, more: &Value| {
        let heard = json!({"name": topic, "filter": {"type": "traced"}});
        let triggers = json!([{"name": "hears", "topic": heard}]);
        let mut more = more.clone();
        more["source"] = json!({"runtime": "python", "files": {"main.py": code}});
        hearer(&triggers, &more)
    };
    let output = json!({"output": {"topic": "traced-bills"}});
    space.function("first", of("traced", &output)).await;
    space
        .function("second", of("traced-bills", &json!({})))
        .await;
    for name in ["first", "second"] {
        space.ready(name).await;
    }
    // Until all gateways know who hears it.
    publish(&space, "traced-bills", ("0", "other"), "", 0).await;
    let gateway = space.gateway();
    eventually("the topics are known", async || {
        let path = format!("/topics/traced.{}", space.name);
        let event = message(&gateway, &path)
            .header("ce-specversion", "1.0")
            .header("ce-id", "1")
            .header("ce-source", "/test")
            .header("ce-type", "traced")
            .header("traceparent", TRACE)
            .header("tracestate", "congo=t61rcWkgMzE")
            .header("baggage", "user=7");
        let told = send(&gateway, event, "seven").await;
        if told.status == 202 {
            Ok(())
        } else {
            Err(told.text())
        }
    })
    .await;
    let line = format!("{TRACE} congo=t61rcWkgMzE user=7");
    for name in ["first", "second"] {
        heard(&space, name, &[&line]).await;
    }
}

#[tokio::test]
async fn what_waits_is_in_the_status_with_its_reason_until_it_is_delivered() {
    let space = Space::new().await;
    let trigger = json!([{"name": "orders", "topic": {"name": "orders"}}]);
    let spec = |code: &str| {
        json!({
            "source": {"runtime": "python", "files": {"main.py": code}},
            "scale": {"initial": 0, "max": 1},
            "triggers": trigger,
            "delivery": {"attempts": 100, "backoff": {"first": "1s", "max": "2s"}},
        })
    };
    let broken = "def handle(request):\n    raise ValueError('no database')\n";
    space.function("waits", spec(broken)).await;
    space.ready("waits").await;
    let (heard, _) = space.condition("waits", "Subscribed", "True").await;
    assert_eq!(heard, "Heard");
    for number in 0..3 {
        publish(
            &space,
            "orders",
            (&number.to_string(), "order.created"),
            "x",
            1,
        )
        .await;
    }
    let status = async || space.get("waits").await.status.unwrap_or_default();
    eventually_within(2 * DEADLINE, "it is told what waits, and why", async || {
        let status = status().await;
        let told = status.triggers.iter().find(|told| told.name == "orders");
        let is_told = told.is_some_and(|told| {
            let why = told.last_error.as_deref().unwrap_or_default();
            told.backlog == Some(3) && told.oldest.is_some() && why.contains("500")
        });
        if is_told && status.backlog == Some(3) {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await;
    let kubeconfig = &space.platform.kubeconfig;
    let run = |arguments: &[&str]| {
        let output = fermata(kubeconfig, &[&["-n", &*space.name], arguments].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = run(&["list"]);
    let mut lines = listed.lines();
    let column = lines.next().unwrap().find("BACKLOG").unwrap();
    assert!(lines.next().unwrap()[column..].starts_with('3'), "{listed}");
    let described = run(&["describe", "waits"]);
    assert!(
        described.contains("3 messages wait since")
            && described.contains("the last attempt has failed"),
        "{described}"
    );

    space
        .function("waits", spec("def handle(request):\n    return 'done'\n"))
        .await;
    eventually_within(2 * DEADLINE, "nothing waits any more", async || {
        let status = status().await;
        if status.backlog.is_none() && status.triggers.is_empty() {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn what_has_failed_is_heard_by_who_is_there_for_it() {
    let space = Space::new().await;
    let fails = r#"
def handle(request):
    raise ValueError("no such item")
"#;
    let orders = json!([{"name": "orders", "topic": {"name": "orders"}}]);
    let more = json!({
        "source": {"runtime": "python", "files": {"main.py": fails}},
        "delivery": {
            "attempts": 2, "backoff": {"first": "50ms", "max": "100ms"},
            "deadLetter": {"topic": "dead"},
        },
    });
    space.function("biller", hearer(&orders, &more)).await;
    let dead = json!([{"name": "dead", "topic": {"name": "dead"}, "path": "/dead"}]);
    space.function("clerk", hearer(&dead, &json!({}))).await;
    for name in ["biller", "clerk"] {
        space.ready(name).await;
    }
    // Until all gateways know who hears it.
    publish(&space, "dead", ("0", "other"), "zero", 1).await;
    publish(&space, "orders", ("1", "order"), "one", 1).await;
    heard(
        &space,
        "clerk",
        &["/dead 0 other zero", "/dead 1 order one"],
    )
    .await;
}

#[tokio::test]
async fn those_of_a_key_are_heard_one_after_the_other() {
    let space = Space::new().await;
    let slow = r#"
import time
heard = []
running = 0

def handle(request):
    global running
    if request.method == "GET":
        return "\n".join(heard)
    running += 1
    time.sleep(0.02)
    heard.append(f"{running} {request.headers['ce-id']}")
    running -= 1
"#;
    let orders = json!([{"name": "orders", "topic": {"name": "orders", "order": "Key"}}]);
    let more = json!({"source": {"runtime": "python", "files": {"main.py": slow}}});
    space.function("ledger", hearer(&orders, &more)).await;
    space.ready("ledger").await;
    let event = |id: usize| json!({"specversion": "1.0", "id": id.to_string(), "source": "/test", "type": "order", "partitionkey": "7"});
    let batch: Vec<Value> = (0..20).map(event).collect();
    publish_batch(&space, "orders", &batch).await;
    let expected: Vec<String> = (0..20).map(|id| format!("1 {id}")).collect();
    eventually_within(2 * DEADLINE, "all are heard in order", async || {
        let text = space.fetch("ledger", "/").await.text();
        if text.lines().eq(&expected) {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await;
}

#[tokio::test]
async fn messages_come_together_and_those_that_have_failed_come_again() {
    let space = Space::new().await;
    let counts = r#"
heard = []

def handle(request):
    if request.method == "GET":
        return "\n".join(heard)
    ids = [event["id"] for event in request.json()]
    heard.append(" ".join(ids))
    return {"failed": [id for id in ids if id == "3" and len(heard) == 1]}
"#;
    let orders = json!([{
        "name": "orders", "topic": {"name": "orders"}, "batch": {"size": 5, "wait": "200ms"},
    }]);
    let more = json!({"source": {"runtime": "python", "files": {"main.py": counts}}});
    space.function("ledger", hearer(&orders, &more)).await;
    space.ready("ledger").await;
    let event = |id: usize| json!({"specversion": "1.0", "id": id.to_string(), "source": "/test", "type": "order"});
    let batch: Vec<Value> = (0..5).map(event).collect();
    publish_batch(&space, "orders", &batch).await;
    eventually_within(2 * DEADLINE, "all are heard, and one again", async || {
        let text = space.fetch("ledger", "/").await.text();
        let mut lines = text.lines();
        let mut first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        first.sort_unstable();
        if first == ["0", "1", "2", "3", "4"] && lines.eq(["3"]) {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_is_published_from_the_command_line() {
    let space = Space::new().await;
    let triggers =
        json!([{"name": "orders", "topic": {"name": "orders", "filter": {"type": "order"}}}]);
    space.function("bills", hearer(&triggers, &json!({}))).await;
    space.ready("bills").await;
    let run = |arguments: &[&str]| {
        let mut all = vec!["-n", &*space.name];
        all.extend(arguments);
        let output = fermata(&space.platform.kubeconfig, &all);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.success(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    // Once all gateways know it: the same message goes to nobody twice.
    let event = [
        "publish",
        "orders",
        "--type",
        "order",
        "-d",
        "seven",
        "-H",
        "ce-specversion: 1.0",
        "-H",
        "ce-id: 7",
        "-H",
        "ce-source: /test",
    ];
    eventually("it is published", async || {
        let (published, told, error) = run(&event);
        if published && told.contains("\"ids\":[\"7\"]") {
            Ok(())
        } else {
            Err(told + &error)
        }
    })
    .await;
    heard(&space, "bills", &["/ 7 order seven"]).await;
    let (_, listed, error) = run(&["topics"]);
    let listed: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        listed[1],
        ["orders", "bills", "orders", "type=order", "-", "-"],
        "{error}"
    );
    let (published, _, error) = run(&["publish", "order", "-d", "x"]);
    assert!(
        !published && error.contains("did you mean orders?"),
        "{error}"
    );
}

#[tokio::test]
async fn a_topic_is_closed_to_the_world_when_one_who_hears_it_is() {
    let space = Space::new().await;
    let triggers = json!([{"name": "secrets", "topic": {"name": "secrets"}}]);
    let cluster = json!({"expose": {"visibility": "Cluster"}});
    space.function("audit", hearer(&triggers, &cluster)).await;
    space.ready("audit").await;
    let path = format!("/topics/secrets.{}", space.name);
    let inside = space.platform.internal_gateway();
    eventually("it is published from inside", async || {
        let told = send(&inside, message(&inside, &path), "seven").await;
        if told.status == 202 {
            Ok(())
        } else {
            Err(told.text())
        }
    })
    .await;
    let gateway = space.gateway();
    let refused = send(&gateway, message(&gateway, &path), "seven").await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("x-fermata-reason")),
        (404, "NoSuchTopic")
    );
    let unknown = format!("/topics/secret.{}", space.name);
    let refused = send(&inside, message(&inside, &unknown), "seven").await;
    assert!(
        refused.text().contains("did you mean secrets?"),
        "{}",
        refused.text()
    );
}

#[tokio::test]
async fn triggers_that_make_no_sense_are_refused() {
    let space = Space::new().await;
    for (trigger, why) in [
        (json!({}), "a schedule or a topic"),
        (
            json!({"topic": {"name": "a"}, "schedule": {"cron": "* * * * *"}}),
            "a schedule or a topic",
        ),
        (
            json!({"topic": {"name": "a"}, "body": "x"}),
            "body goes with schedule",
        ),
        (json!({"topic": {"name": "A.b"}}), "a topic's name"),
        (
            json!({"topic": {"name": "a"}, "batch": {"size": 1}}),
            "batch.size must be between 2 and 1000",
        ),
        (
            json!({"topic": {"name": "a", "order": "Key"}, "batch": {"size": 5}}),
            "batch goes not with order: Key",
        ),
        (
            json!({"schedule": {"cron": "* * * * *"}, "batch": {"size": 5}}),
            "batch goes with topic",
        ),
        (
            json!({"topic": {"name": "a", "filter": {"my-name": "x"}}}),
            "names of CloudEvents attributes",
        ),
        (
            json!({"topic": {"name": "a", "filter": {"type": ""}}}),
            "1 to 256 characters",
        ),
    ] {
        let mut trigger = trigger;
        trigger["name"] = json!("t");
        let function = json!({
            "apiVersion": "fermata.dev/v1alpha1", "kind": "Function", "metadata": {"name": "echo"},
            "spec": {"image": "example.com/echo", "triggers": [trigger]},
        });
        let refused = space.try_apply(&function).await.unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
    let circle = json!({
        "apiVersion": "fermata.dev/v1alpha1", "kind": "Function", "metadata": {"name": "echo"},
        "spec": {
            "image": "example.com/echo", "output": {"topic": "a"},
            "triggers": [{"name": "t", "topic": {"name": "a"}}],
        },
    });
    let refused = space.try_apply(&circle).await.unwrap_err().to_string();
    assert!(refused.contains("hears itself"), "{refused}");
}
