//! Functions whose source is in a git repository: the commit is what runs, and a repository that is away harms
//! nobody.

mod changes;
mod failures;
mod lfs;
mod ssh;
mod webhooks;

use std::{net::IpAddr, path::PathBuf};

use fermata_crds::{Function, SourceStatus};
use fermata_tests::{GitServer, Space, eventually};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

/// A namespace, and a server that its pods reach.
async fn start() -> (Space, GitServer) {
    let space = Space::new().await;
    let address = if space.platform.embedded {
        IpAddr::from([127, 0, 0, 1])
    } else {
        space.platform.api_address().await
    };
    (space, GitServer::start(address))
}

/// A handler that answers this.
fn answers(text: &str) -> String {
    format!("def handle(request):\n    return {text:?}\n")
}

/// A function of a repository.
async fn function(space: &Space, name: &str, git: Value) {
    let source = json!({"runtime": "python", "git": git});
    space.function(name, json!({"source": source})).await;
}

/// Asks for another look.
async fn look_again(space: &Space, name: &str, text: &str) {
    let patch = json!({"metadata": {"annotations": {"fermata.dev/look": text}}});
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
    let functions = space.api::<Function>();
    let patched = functions.patch(name, &parameters, &patch).await;
    patched.expect("a patch");
}

/// What the status says of the source.
async fn source(space: &Space, name: &str) -> SourceStatus {
    let status = space.get(name).await.status.unwrap_or_default();
    status.source.unwrap_or_default()
}

/// Waits until a call is answered so.
async fn until_answer(space: &Space, name: &str, text: &str) {
    eventually(&format!("{name} answers {text}"), async || {
        let answer = space.call(name, "").await;
        let said = answer.text();
        if said == text { Ok(()) } else { Err(said) }
    })
    .await;
}

#[tokio::test]
async fn the_files_of_a_commit_run() {
    let (space, server) = start().await;
    let commit = server.commit(
        "shop",
        &[
            (
                "main.py",
                "from lib.words import WORDS\n\ndef handle(request):\n    return WORDS\n",
            ),
            ("lib/words.py", "WORDS = 'hello from git'\n"),
        ],
    );
    function(&space, "hello", json!({"url": server.url("shop")})).await;
    space.ready("hello").await;
    until_answer(&space, "hello", "hello from git").await;
    let (reason, message) = space.condition("hello", "SourceResolved", "True").await;
    assert_eq!(reason, "Resolved");
    assert!(message.contains(&commit), "{message}");
    assert_eq!(
        source(&space, "hello").await.commit.as_deref(),
        Some(&*commit)
    );
    let revisions = space.revisions("hello").await;
    assert_eq!(revisions[0].spec.commit.as_deref(), Some(&*commit));
    // Who looked is gone.
    eventually("no pod looks any more", async || {
        let pods = space.api::<k8s_openapi::api::core::v1::Pod>();
        match pods.get_opt("hello-look").await.expect("an answer") {
            None => Ok(()),
            Some(pod) => Err(format!("{:?}", pod.status)),
        }
    })
    .await;
}

#[tokio::test]
async fn a_folder_a_tag_and_a_commit_are_taken() {
    let (space, server) = start().await;
    let one = answers("one");
    let first = server.commit(
        "shop",
        &[("main.py", "broken ="), ("functions/a/main.py", &one)],
    );
    server.git("shop", &["tag", "--annotate", "--message=x", "v1"]);
    server.commit("shop", &[("functions/a/main.py", &answers("two"))]);
    let git = |reference: &str| json!({"url": server.url("shop"), "ref": reference, "path": "functions/a"});
    function(&space, "tag", git("v1")).await;
    function(&space, "commit", git(&first)).await;
    for name in ["tag", "commit"] {
        space.ready(name).await;
        until_answer(&space, name, "one").await;
        assert_eq!(source(&space, name).await.commit.as_deref(), Some(&*first));
    }
}

#[tokio::test]
async fn what_the_repository_asks_for_is_installed() {
    let (space, server) = start().await;
    let wheel = fermata_tests::wheel("greeting", "1.0", "WORDS = 'installed'\n");
    let wheel = decoded(&wheel);
    server.commit(
        "shop",
        &[
            (
                "main.py",
                "import greeting\ndef handle(request):\n    return greeting.WORDS\n",
            ),
            (
                "requirements.txt",
                "--no-index\n--find-links wheels\ngreeting==1.0\n",
            ),
        ],
    );
    server.put("shop", "wheels/greeting-1.0-py3-none-any.whl", &wheel);
    server.commit("shop", &[]);
    function(&space, "hello", json!({"url": server.url("shop")})).await;
    space.ready("hello").await;
    until_answer(&space, "hello", "installed").await;
    space.condition("hello", "Built", "True").await;
}

/// Base64, by the tool that every machine has.
fn decoded(text: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a directory");
    let path: PathBuf = dir.path().join("text");
    std::fs::write(&path, text).expect("a file");
    let output = std::process::Command::new("base64")
        .arg("--decode")
        .arg(path)
        .output()
        .expect("base64 runs");
    output.stdout
}
