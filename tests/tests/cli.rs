//! The command line, as a person uses it.

use std::{fs, path::Path, process::Command};

use fermata_tests::{Platform, Space, Up, eventually, fermata, fermata_bin};
use serde_json::json;

fn run(kubeconfig: &Path, arguments: &[&str]) -> (bool, String) {
    let output = fermata(kubeconfig, arguments);
    let printed = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&printed).into_owned(),
    )
}

fn ok(kubeconfig: &Path, arguments: &[&str]) -> String {
    let (ok, printed) = run(kubeconfig, arguments);
    assert!(ok, "fermata {arguments:?}: {printed}");
    printed
}

/// Whether a program is on `PATH`.
fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

#[tokio::test]
async fn what_init_writes_runs_unchanged_and_rolls_when_it_is_edited() {
    for (runtime, file, edit) in [
        ("python", "main.py", ("Hello", "Goodbye")),
        ("node", "main.mjs", ("Hello", "Goodbye")),
        ("command", "main.sh", ("Hello", "Goodbye")),
    ] {
        if runtime == "node" && !is_installed("node") {
            println!("node is not on PATH: its runtime is not tested");
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let init = Command::new(fermata_bin())
            .args(["init", "greeter", "--runtime", runtime])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(init.status.success(), "{init:?}");
        let up = Up::start(dir.path(), ["--ephemeral", "-f", "greeter"]);
        let gateway = up.platform().gateway();
        let call = async || gateway.post("/function/greeter", "world").await;
        eventually("it answers", async || match call().await.text() {
            text if text == "Hello, world!\n" => Ok(()),
            text => Err(format!("{text}\n{}", up.printed())),
        })
        .await;
        let code = dir.path().join("greeter").join(file);
        let text = fs::read_to_string(&code).unwrap().replace(edit.0, edit.1);
        fs::write(&code, text).unwrap();
        // No call fails while the new revision rolls out.
        eventually("the edit has rolled out", async || {
            match call().await.ok().text() {
                text if text == "Goodbye, world!\n" => Ok(()),
                text => Err(text),
            }
        })
        .await;
        eventually("the change is told", async || {
            let printed = up.printed();
            let told = printed.contains("/function/greeter")
                && printed.contains("revision greeter-00002 is ready");
            if told { Ok(()) } else { Err(printed) }
        })
        .await;
        assert!(
            run(Path::new("/nonexistent"), &["list"])
                .1
                .contains("kubeconfig")
        );
    }
}

#[tokio::test]
async fn deploy_list_invoke_logs_describe_and_delete() {
    let space = Space::new().await;
    let kubeconfig = space.platform.kubeconfig.as_path();
    let gateway = format!("http://{}", space.platform.gateway);
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("main.py");
    fs::write(
        &source,
        "def handle(request):\n    print('got', request.text())\n    return request.text()[::-1]\n",
    )
    .unwrap();
    let source = source.to_str().unwrap();
    let n = ["-n", space.name.as_str()];
    let with = |arguments: &[&str]| {
        [&n[..], arguments]
            .concat()
            .iter()
            .map(|part| (*part).to_owned())
            .collect::<Vec<String>>()
    };
    let fermata = |arguments: &[&str]| {
        let all = with(arguments);
        ok(
            kubeconfig,
            &all.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    };

    assert!(fermata(&["list"]).contains("No functions found"));
    let deployed = fermata(&["deploy", "reverse", "--runtime", "python", source]);
    assert!(
        deployed.contains("reverse is ready") && deployed.contains("http://"),
        "{deployed}"
    );
    let listed = fermata(&["list"]);
    assert!(
        listed.contains("reverse") && listed.contains("True"),
        "{listed}"
    );
    let json: serde_json::Value = serde_json::from_str(&fermata(&["list", "-o", "json"])).unwrap();
    assert_eq!(json["items"][0]["metadata"]["name"], "reverse");
    assert!(fermata(&["list", "-o", "wide"]).contains("python"));
    assert_eq!(
        fermata(&["invoke", "reverse", "-d", "abc", "--gateway", &gateway]),
        "cba"
    );
    if space.platform.embedded {
        assert_eq!(fermata(&["invoke", "reverse", "-d", "xyz"]), "zyx");
    }
    assert!(fermata(&["invoke", "reverse", "-i", "--gateway", &gateway]).contains("server-timing"));
    assert!(fermata(&["logs", "reverse"]).contains("got abc"));
    let described = fermata(&["describe", "reverse"]);
    for part in [
        "Name:",
        "reverse-00001",
        "100 %",
        "RevisionReady",
        "Events:",
    ] {
        assert!(described.contains(part), "{described}");
    }
    assert!(fermata(&["delete", "reverse"]).contains("deleted"));
    assert!(fermata(&["list"]).contains("No functions found"));
}

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
    assert!(fails(&["up", "-f", "/nonexistent"]).contains("/nonexistent"));

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
}

#[tokio::test]
async fn a_completion_script_is_there_for_each_shell() {
    let platform = Platform::shared();
    for shell in ["bash", "zsh", "fish"] {
        assert!(ok(&platform.kubeconfig, &["completion", shell]).contains("fermata"));
    }
}

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
