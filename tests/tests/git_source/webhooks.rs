//! Who keeps a repository tells by a webhook that there is something new, and nobody else can.

use std::{collections::BTreeSet, time::Duration};

use aws_lc_rs::hmac;
use bytes::Bytes;
use fermata_crds::Function;
use fermata_tests::{Answer, GitServer, SYSTEM, Space, eventually};
use http::{Method, Request};
use http_body_util::Full;
use kube::ResourceExt as _;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use super::{answers, function, start, until_answer};

const KEY: &str = "a key that nobody knows";
const BODY: &str = r#"{"ref": "refs/heads/main"}"#;

/// Between two looks of a function.
const PAUSE: Duration = Duration::from_secs(5);

/// Makes the function `hello` of the repository `shop`, which has a webhook.
async fn hooked(space: &Space, server: &GitServer) {
    server.commit("shop", &[("main.py", &answers("one"))]);
    key(space).await;
    let git = json!({"url": server.url("shop"), "webhook": {"secretName": "hook"}});
    function(space, "hello", git).await;
    space.ready("hello").await;
    until_answer(space, "hello", "one").await;
}

/// Makes the Secret `hook`, and lets what takes webhooks read it.
async fn key(space: &Space) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook"},
        "stringData": {"secret": KEY}});
    space.apply(&secret).await;
    if space.platform.embedded {
        return;
    }
    let group = "rbac.authorization.k8s.io";
    let version = format!("{group}/v1");
    let role = json!({"apiVersion": version, "kind": "Role", "metadata": {"name": "hook"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["hook"], "verbs": ["get"]}]});
    space.apply(&role).await;
    let binding = json!({"apiVersion": version, "kind": "RoleBinding", "metadata": {"name": "hook"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "hook"},
        "subjects": [{"kind": "ServiceAccount", "name": "fermata-webhooks", "namespace": SYSTEM}]});
    space.apply(&binding).await;
}

/// The signature of a body, in hexadecimal.
fn signature(key: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let signature = hmac::sign(&key, body.as_bytes());
    let digits = signature.as_ref().iter();
    digits.map(|byte| format!("{byte:02x}")).collect()
}

fn github(key: &str) -> (&'static str, String) {
    let signature = signature(key, BODY);
    ("x-hub-signature-256", format!("sha256={signature}"))
}

/// Delivers the body to a function, and gives the answer of what takes webhooks: it may have to start, and a gateway
/// may not know of it yet.
async fn deliver(space: &Space, name: &str, headers: &[(&str, String)]) -> Answer {
    let path = format!("/hooks/git/{}/{name}", space.name);
    eventually(&format!("{path} is answered"), async || {
        let mut request = Request::builder().method(Method::POST).uri(&path);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::from(Bytes::from(BODY))).unwrap();
        let answer = space.gateway().try_send(request).await?;
        if answer.status.is_server_error() || answer.status == 404 {
            return Err(format!("{} {}", answer.status, answer.text()));
        }
        Ok(answer)
    })
    .await
}

/// Delivers until that is taken: a key that was made a moment ago may not be known yet.
async fn delivered(space: &Space, name: &str, headers: &[(&str, String)]) {
    eventually("a delivery is taken", async || {
        let answer = deliver(space, name, headers).await;
        if answer.status == 202 {
            Ok(())
        } else {
            Err(format!("{} {}", answer.status, answer.text()))
        }
    })
    .await;
}

/// What asks for a look now.
async fn look(space: &Space, name: &str) -> Option<String> {
    let function: Function = space.get(name).await;
    function.annotations().get("fermata.dev/look").cloned()
}

#[tokio::test]
async fn a_delivery_is_taken_as_each_service_signs_it() {
    let (space, server) = start().await;
    hooked(&space, &server).await;
    let mac = signature(KEY, BODY);
    for (text, headers) in [
        (
            "github",
            vec![("x-github-event", "push".to_owned()), github(KEY)],
        ),
        // It sends both.
        (
            "gitea",
            vec![
                ("x-gitea-signature", mac.clone()),
                ("x-gogs-signature", mac.clone()),
            ],
        ),
        ("forgejo", vec![("x-forgejo-signature", mac.clone())]),
        ("gogs", vec![("x-gogs-signature", mac)]),
        ("gitlab", vec![("x-gitlab-token", KEY.to_owned())]),
    ] {
        server.commit("shop", &[("main.py", &answers(text))]);
        delivered(&space, "hello", &headers).await;
        until_answer(&space, "hello", text).await;
    }
}

#[tokio::test]
async fn what_is_not_signed_is_refused() {
    let (space, server) = start().await;
    hooked(&space, &server).await;
    let ping = [("x-github-event", "ping".to_owned()), github(KEY)];
    eventually("a ping is answered", async || {
        let answer = deliver(&space, "hello", &ping).await;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(answer.text())
        }
    })
    .await;

    let cut = github(KEY).1[..40].to_owned();
    let other = signature(KEY, "another body");
    for headers in [
        vec![],
        vec![github("another key")],
        vec![("x-hub-signature-256", cut)],
        vec![("x-gitea-signature", other)],
        vec![("x-gitlab-token", "another key".to_owned())],
        vec![("x-gitlab-token", String::new())],
        vec![
            ("x-gitlab-token", KEY.to_owned()),
            ("x-gitlab-token", KEY.to_owned()),
        ],
    ] {
        let answer = deliver(&space, "hello", &headers).await;
        assert_eq!(answer.status, 401, "{headers:?}: {}", answer.text());
        assert!(!answer.text().contains("hello"), "{}", answer.text());
    }
    // What has no webhook, or no key, or is not there, is answered in the same way.
    let wrong = deliver(&space, "hello", &[github("another key")])
        .await
        .text();
    function(&space, "plain", json!({"url": server.url("shop")})).await;
    let keyless = json!({"url": server.url("shop"), "webhook": {"secretName": "nothing"}});
    function(&space, "keyless", keyless).await;
    for name in ["plain", "keyless", "nobody"] {
        let answer = deliver(&space, name, &[github(KEY)]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (401, wrong.clone()),
            "{name}"
        );
    }
    for name in ["hello", "plain", "keyless"] {
        assert_eq!(look(&space, name).await, None, "{name}");
    }

    let get = space
        .gateway()
        .get(&format!("/hooks/git/{}/hello", space.name))
        .await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, "POST"));
    let elsewhere = space.gateway().post("/hooks/git/hello", BODY).await;
    assert_eq!(elsewhere.status, 404, "{}", elsewhere.text());
    let head = head(&space, "hello", 26 << 20);
    let mut stream = TcpStream::connect(space.platform.gateway).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn replays_ask_for_no_more_looks() {
    let (space, server) = start().await;
    hooked(&space, &server).await;
    let headers = [github(KEY)];
    delivered(&space, "hello", &headers).await;
    let begun = Instant::now();
    let mut looks = BTreeSet::from([look(&space, "hello").await]);
    for _ in 0..20 {
        let answer = deliver(&space, "hello", &headers).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        looks.insert(look(&space, "hello").await);
    }
    let most = 2 + begun.elapsed().as_secs() / PAUSE.as_secs();
    assert!(
        looks.len() as u64 <= most,
        "{looks:?} in {:?}",
        begun.elapsed()
    );
    // The last delivery is not forgotten.
    server.commit("shop", &[("main.py", &answers("two"))]);
    delivered(&space, "hello", &headers).await;
    until_answer(&space, "hello", "two").await;
}

/// The head of a delivery.
fn head(space: &Space, name: &str, length: usize) -> String {
    format!(
        "POST /hooks/git/{}/{name} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\r\n",
        space.name, space.platform.gateway
    )
}

#[tokio::test]
async fn bodies_that_do_not_come_shut_nobody_out() {
    let (space, server) = start().await;
    hooked(&space, &server).await;
    let headers = [github(KEY)];
    delivered(&space, "hello", &headers).await;
    let head = head(&space, "hello", 1000) + "half a bo";
    let mut stalled = Vec::new();
    for _ in 0..150 {
        let mut stream = TcpStream::connect(space.platform.gateway).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    server.commit("shop", &[("main.py", &answers("two"))]);
    delivered(&space, "hello", &headers).await;
    until_answer(&space, "hello", "two").await;
    drop(stalled);
}
