//! `fermata up`.

use std::fs;

use fermata_tests::{Up, eventually};

use crate::{ok, write_function};

#[tokio::test]
async fn a_bad_file_of_up_is_told_and_mended_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = dir.path().join("f.yaml");
    let function = |image: &str| {
        format!(
            "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {{name: web}}\nspec: {{image: x, {image}}}\n"
        )
    };
    fs::write(&manifest, function("scale: {min: 5, max: 1}")).unwrap();
    let up = Up::start(dir.path(), ["--ephemeral", "-f", "f.yaml"]);
    let says = async |sentence: &str| {
        eventually(sentence, async || {
            if up.printed().contains(sentence) {
                Ok(())
            } else {
                Err(up.printed())
            }
        })
        .await;
    };
    says("scale.max must be at least scale.min").await;
    fs::write(&manifest, "a: [").unwrap();
    says("f.yaml is not valid YAML").await;
    fs::write(&manifest, function("command: [fermata-test-function]")).unwrap();
    says("revision web-00001 is ready").await;
    assert_eq!(
        up.platform()
            .gateway()
            .post("/function/web", "hi")
            .await
            .ok()
            .text(),
        "hi"
    );
}

#[tokio::test]
async fn up_shows_requests_and_the_newest_news() {
    let dir = tempfile::tempdir().unwrap();
    write_function(&dir.path().join("hello"), "hello", "one");
    let up = Up::start(
        dir.path(),
        ["--ephemeral", "--access-log=on", "-f", "hello"],
    );
    let call = async || up.platform().gateway().get("/function/hello").await;
    let answers = async |text: &str| {
        eventually(text, async || match call().await.text() {
            answer if answer == text => Ok(()),
            answer => Err(answer),
        })
        .await;
    };
    answers("one").await;
    eventually("the request is shown", async || {
        let printed = up.printed();
        let line = printed
            .lines()
            .find(|line| line.contains("GET /function/hello 200"));
        line.map(drop).ok_or(printed)
    })
    .await;
    write_function(&dir.path().join("hello"), "hello", "two");
    answers("two").await;
    eventually("the second revision is told of", async || {
        let described = ok(&up.platform().kubeconfig, &["describe", "hello"]);
        let told = ["made hello-00001 ", "made hello-00002 "];
        if told.iter().all(|part| described.contains(part)) {
            Ok(())
        } else {
            Err(described)
        }
    })
    .await;
    let (code, printed) = up.stop();
    assert_eq!(code, Some(0), "{printed}");
}

/// Twice as much as may wait to be printed, and a full pipe more.
#[tokio::test]
async fn up_serves_while_nobody_reads_what_it_prints() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path(), ["--ephemeral", "--access-log=on"]);
    up.stall(true);
    let path = format!("/{}", "x".repeat(8 * 1024));
    for _ in 0..300 {
        assert_eq!(up.platform().gateway().get(&path).await.status, 404);
    }
    let kubeconfig = up.platform().kubeconfig.clone();
    ok(&kubeconfig, &["list"]);
    up.stall(false);
    eventually("what is missing is told", async || {
        let told = up.printed().contains("more lines came too fast");
        if told { Ok(()) } else { Err(up.printed()) }
    })
    .await;
    let (code, printed) = up.stop();
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("Stopping"), "{printed}");
}

#[tokio::test]
async fn a_program_that_listens_elsewhere_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {name: deaf}\nspec:\n  image: x\n  \
        command: [sh, -c, 'sleep 1000']\n";
    fs::write(dir.path().join("f.yaml"), manifest).unwrap();
    let up = Up::start(dir.path(), ["--ephemeral", "-f", "f.yaml"]);
    eventually("it is told", async || {
        let printed = up.printed();
        let told = printed.contains("nothing listens on $PORT (");
        if told { Ok(()) } else { Err(printed) }
    })
    .await;
}
