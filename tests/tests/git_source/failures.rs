//! What goes wrong with a repository is told in git's own words, and what runs goes on.

use fermata_crds::conditions;
use fermata_tests::{LOGIN, Space, eventually};
use k8s_openapi::api::{
    core::v1::{Event, Pod, Secret},
    events::v1::Event as NewEvent,
};
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use super::{answers, function, look_again, start, until_answer};

/// Waits until the source is told for this reason, and gives the message.
async fn told(space: &Space, name: &str, reason: &str) -> String {
    eventually(&format!("{name}: {reason}"), async || {
        let status = space.get(name).await.status.unwrap_or_default();
        match conditions::find(&status.conditions, conditions::SOURCE_RESOLVED) {
            Some(condition) if condition.reason == reason => Ok(condition.message.clone()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_branch_that_is_not_there_is_told_and_one_that_vanished_keeps_what_runs() {
    let (space, server) = start().await;
    server.commit("shop", &[("main.py", &answers("one"))]);
    server.git("shop", &["branch", "next"]);
    let git = |reference: &str| json!({"url": server.url("shop"), "ref": reference});
    function(&space, "missing", git("nothing")).await;
    let message = space.fails("missing", "RefNotFound").await;
    assert!(
        message.contains("no branch and no tag named nothing"),
        "{message}"
    );

    function(&space, "hello", git("next")).await;
    space.ready("hello").await;
    server.git("shop", &["branch", "--delete", "--force", "next"]);
    look_again(&space, "hello", "1").await;
    let message = told(&space, "hello", "RefNotFound").await;
    assert!(message.contains("stays what runs"), "{message}");
    until_answer(&space, "hello", "one").await;
    space.ready("hello").await;
}

#[tokio::test]
async fn a_repository_that_is_away_is_found_when_it_is_back() {
    let (space, mut server) = start().await;
    server.commit("shop", &[("main.py", &answers("one"))]);
    server.pause();
    function(&space, "hello", json!({"url": server.url("shop")})).await;
    let message = told(&space, "hello", "RepositoryUnreachable").await;
    assert!(message.contains("onnect"), "{message}");
    let status = space.get("hello").await.status.unwrap_or_default();
    let ready = conditions::find(&status.conditions, conditions::READY).expect("Ready");
    assert_eq!(ready.status, "Unknown");
    server.resume();
    space.ready("hello").await;
    until_answer(&space, "hello", "one").await;
}

#[tokio::test]
async fn a_password_is_in_the_secret_and_seen_nowhere() {
    let (space, server) = start().await;
    server.commit("private/shop", &[("main.py", &answers("private"))]);
    let (user, password) = LOGIN;
    let git = json!({"url": server.url("private/shop"), "secretName": "reader"});
    function(&space, "hello", git).await;
    let message = space.fails("hello", "LookFailed").await;
    assert!(message.contains("has none of"), "{message}");
    space
        .apply(
            &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "reader"},
            "stringData": {"username": user, "password": password}}),
        )
        .await;
    look_again(&space, "hello", "1").await;
    space.ready("hello").await;
    until_answer(&space, "hello", "private").await;

    let seen = seen(&space).await;
    assert!(seen.contains("fermata-fetch"));
    assert!(
        !seen.contains(password) && !seen.contains("pass%20word"),
        "{seen}"
    );
}

/// All that may be read of the namespace, its Secrets left out.
async fn seen(space: &Space) -> String {
    let all = ListParams::default();
    let pods = space.api::<Pod>().list(&all).await.expect("pods");
    let mut text = serde_json::to_string(&pods.items).expect("JSON");
    for pod in &pods.items {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let parameters = kube::api::LogParams {
            container: Some("fermata-fetch".to_owned()),
            ..kube::api::LogParams::default()
        };
        let logs = space.api::<Pod>().logs(&name, &parameters).await;
        text.push_str(&logs.unwrap_or_default());
    }
    let old: Api<Event> = space.api();
    text.push_str(&serde_json::to_string(&old.list(&all).await.expect("events").items).unwrap());
    let new: Api<NewEvent> = space.api();
    text.push_str(&serde_json::to_string(&new.list(&all).await.expect("events").items).unwrap());
    text.push_str(&serde_json::to_string(&space.get("hello").await).unwrap());
    text.push_str(&serde_json::to_string(&space.revisions("hello").await).unwrap());
    let secrets = space.api::<Secret>().list(&all).await.expect("secrets");
    assert!(!secrets.items.is_empty());
    text
}

#[tokio::test]
async fn a_link_out_of_the_folder_is_not_taken() {
    let (space, server) = start().await;
    server.commit("shop", &[("main.py", &answers("one"))]);
    server.link("shop", "outside", "../../etc/passwd");
    server.commit("shop", &[]);
    function(&space, "hello", json!({"url": server.url("shop")})).await;
    let message = space.fails("hello", "FetchFailed").await;
    assert!(message.contains("leads out of the folder"), "{message}");
}

#[tokio::test]
async fn a_bad_address_or_reference_is_refused() {
    let space = Space::new().await;
    let refused = async |git: Value| {
        let object = json!({"apiVersion": "fermata.dev/v1alpha1", "kind": "Function",
            "metadata": {"name": "hello"}, "spec": {"source": {"runtime": "python", "git": git}}});
        let error = space
            .try_apply(&object)
            .await
            .expect_err(&object.to_string());
        error.to_string()
    };
    for url in [
        "file:///etc",
        "/etc",
        "-x",
        "ext::sh -c x",
        "https://user:word@example.com/a",
        "https://user@example.com/a",
        "git://example.com/a",
        "ssh://-oProxyCommand=x/a",
    ] {
        let said = refused(json!({"url": url})).await;
        assert!(said.contains("source.git.url"), "{url}: {said}");
    }
    for reference in [
        "a..b", "-x", "a b", "a~1", "a^", "/a", "a/", "a.lock", "@{u}", "a\\b", ".a",
    ] {
        let said = refused(json!({"url": "https://h/a", "ref": reference})).await;
        assert!(said.contains("source.git.ref"), "{reference}: {said}");
    }
    for path in ["/a", "a/", "..", "a/../b", ".git", "a/.GIT/b", "a\\b"] {
        let said = refused(json!({"url": "https://h/a", "path": path})).await;
        assert!(said.contains("source.git.path"), "{path}: {said}");
    }
    let said = refused(json!({"url": "https://h/a", "poll": "10s"})).await;
    assert!(said.contains("from 30s to 24h"), "{said}");
    for git in [
        json!({"url": "git@example.com:team/shop.git", "ref": "feature/a-b_c"}),
        json!({"url": "ssh://git@example.com:2222/shop", "ref": "refs/tags/v1.2"}),
        json!({"url": "http://10.0.0.1:8080/a", "path": "functions/orders", "poll": "5m"}),
    ] {
        function(&space, "good", git).await;
    }
}
