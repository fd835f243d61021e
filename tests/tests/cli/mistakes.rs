//! What goes wrong is told with the way out.

use std::{fs, path::Path, process::Command};

use fermata_tests::{Space, fermata_bin};
use serde_json::json;

use crate::{ok, run};

#[tokio::test]
async fn mistakes_are_told_with_the_way_out() {
    let space = Space::new().await;
    let kubeconfig = space.platform.kubeconfig.as_path();
    let fails = |arguments: &[&str]| {
        let (ok, printed) = run(kubeconfig, arguments);
        assert!(!ok, "fermata {arguments:?} succeeded: {printed}");
        printed
    };
    assert!(fails(&["invoke", "nobody"]).contains("there is no function nobody"));
    assert!(fails(&["logs", "nobody"]).contains("there is no function nobody"));
    assert!(fails(&["describe", "nobody"]).contains("fermata list"));
    assert!(fails(&["delete", "nobody"]).contains("no such function: nobody"));
    assert!(ok(kubeconfig, &["delete", "nobody", "--ignore-not-found"]).is_empty());
    assert!(fails(&["deploy", "-f", "/nonexistent.yaml"]).contains("/nonexistent.yaml"));
    assert!(fails(&["init", "Bad_Name"]).contains("lower case letters"));
    assert!(
        fails(&[
            "deploy",
            "x",
            "--image",
            "a",
            "-e",
            "PORT=1",
            "-n",
            &space.name
        ])
        .contains("set by Fermata")
    );
    assert!(fails(&["deploy", "x"]).contains("--image"));
    assert!(fails(&["deploy"]).contains("-f FILE"));
    assert!(fails(&["up", "-f", "/nonexistent"]).contains("/nonexistent"));
    assert!(fails(&["up", "--listen", "8080"]).contains("127.0.0.1:8080"));
    let unknown = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let manifest = "{apiVersion: fermata.dev/v1alpha1, kind: Functoin, metadata: {name: x}}";
    fs::write(unknown.path(), manifest).unwrap();
    let printed = fails(&["deploy", "-f", unknown.path().to_str().unwrap()]);
    assert!(
        printed.contains("does not know the kind Functoin")
            && printed.contains("did you mean Function?")
            && !printed.contains("Missing Kind"),
        "{printed}"
    );

    let printed = run(Path::new("/nonexistent/config"), &["list"]).1;
    assert_eq!(
        printed.matches("/nonexistent/config").count(),
        1,
        "{printed}"
    );

    space.test_function("fails", &["serve"], json!({})).await;
    space.ready("fails").await;
    let gateway = format!("http://{}", space.platform.gateway);
    let printed = fails(&[
        "invoke",
        "fails",
        "-p",
        "/status/418",
        "-n",
        &space.name,
        "--gateway",
        &gateway,
    ]);
    assert!(
        printed.contains("as asked") && printed.contains("418"),
        "{printed}"
    );

    let previous = ok(
        kubeconfig,
        &["logs", "fails", "--previous", "-n", &space.name],
    );
    assert!(
        previous.contains("has been restarted") && !previous.contains("not found"),
        "{previous}"
    );
}

#[test]
fn a_cluster_that_nobody_named_is_not_written_to() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".kube")).unwrap();
    let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: prod\n\
        contexts: [{name: prod, context: {cluster: prod, user: me}}]\n\
        clusters: [{name: prod, cluster: {server: 'https://192.0.2.1:6443'}}]\n\
        users: [{name: me, user: {token: t}}]\n";
    fs::write(home.path().join(".kube/config"), kubeconfig).unwrap();
    for arguments in [
        &["deploy", "x", "--image", "a"][..],
        &["delete", "x"],
        &["restart", "x"],
    ] {
        let output = Command::new(fermata_bin())
            .args(arguments)
            .current_dir(home.path())
            .env("HOME", home.path())
            .env_remove("KUBECONFIG")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{printed}");
        for part in ["prod (https://192.0.2.1:6443)", "--context prod", "--yes"] {
            assert!(printed.contains(part), "{printed}");
        }
    }
}
