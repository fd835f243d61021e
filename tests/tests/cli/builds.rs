//! Builds, as somebody who deploys sees them.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use fermata_crds::Runtime;
use fermata_tests::{Space, Up, eventually, fermata_bin};
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

use crate::{ok, run};

/// Builds a module of what `wanted.txt` says, and takes the time that somebody needs to see it.
const BUILD: &str = "
import os, sys, time
wanted = open('wanted.txt').read().strip()
print('collecting', wanted, flush=True)
print('   Compiling wanted v1.0', flush=True)
time.sleep(2)
if wanted == 'nothing':
    sys.exit('ERROR: there is no package nothing')
target = os.environ.get('FERMATA_ROOT', '') + os.environ['FERMATA_TARGET']
open(target + '/dependency.py', 'w').write(f'NAME = {wanted!r}\\n')
";

/// A function that answers with what was built.
const MAIN: &str = "import os, sys
sys.path.insert(0, os.environ.get('FERMATA_ROOT', '') + os.environ['FERMATA_DEPENDENCIES'])
import dependency


def handle(request):
    return dependency.NAME
";

fn runtime(name: &str) -> Value {
    let image = "ghcr.io/fermata-dev/runtime-python:0.1.0";
    json!({
        "apiVersion": "fermata.dev/v1alpha1", "kind": "Runtime", "metadata": {"name": name},
        "spec": {
            "image": image, "command": ["fermata-invoker", "python"], "handler": "main.handle", "file": "main.py",
            "build": {"image": image, "command": ["python3", "-c", BUILD], "inputs": ["wanted.txt"],
                "target": "/dependencies"},
        },
    })
}

/// Writes a function that wants something.
fn write(dir: &Path, name: &str, runtime: &str, wanted: &str) {
    let manifest = format!(
        "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {{name: {name}}}\nspec: {{source: {{runtime: {runtime}}}}}\n"
    );
    fs::write(dir.join("function.yaml"), manifest).unwrap();
    fs::write(dir.join("main.py"), MAIN).unwrap();
    fs::write(dir.join("wanted.txt"), wanted).unwrap();
}

/// What `fermata` prints on a terminal, which Python makes.
fn on_a_terminal(arguments: &[&str]) -> String {
    let output = Command::new("python3")
        .args([
            "-c",
            "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)",
        ])
        .arg(fermata_bin())
        .args(arguments)
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}");
    printed
}

#[tokio::test]
async fn a_build_is_shown_while_it_is_waited_for_and_afterwards() {
    let space = Space::new().await;
    // Runtimes belong to no namespace.
    let runtime_name = format!("building-{}", space.name);
    space.apply(&runtime(&runtime_name)).await;
    let kubeconfig = space.platform.kubeconfig.as_path();
    let fermata = |arguments: &[&str]| ok(kubeconfig, &[&["-n", &space.name], arguments].concat());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();

    write(dir.path(), "shop", &runtime_name, "apples");
    let deployed = fermata(&["deploy", "-f", path]);
    assert!(deployed.contains("shop is ready"), "{deployed}");
    // A terminal has a line that says how far it is, and nobody else.
    assert!(!deployed.contains('\u{1b}'), "{deployed}");
    assert!(
        deployed.contains("shop build: collecting apples"),
        "{deployed}"
    );
    assert_eq!(space.call("shop", "").await.ok().text(), "apples");
    assert!(fermata(&["build", "logs", "shop"]).contains("collecting apples"));
    let described = fermata(&["describe", "shop"]);
    assert!(described.contains("Build:            done"), "{described}");

    let fresh = fermata(&["build", "--fresh", "shop"]);
    assert!(fresh.contains("shop is ready"), "{fresh}");
    assert!(fermata(&["describe", "shop"]).contains("shop-00002 (newest: shop-00002)"));

    // A failure ends it with the tool's own words, and the function goes on as it was.
    write(dir.path(), "shop", &runtime_name, "nothing");
    let deploy = ["-n", &space.name, "deploy", "-f", path];
    let (deployed, printed) = run(kubeconfig, &deploy);
    assert!(!deployed, "{printed}");
    for part in [
        "shop build: collecting nothing",
        "BuildFailed: ",
        "ERROR: there is no package nothing",
        "fermata build logs shop",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let logs = fermata(&["build", "logs", "shop"]);
    assert!(logs.contains("ERROR: there is no package"), "{logs}");
    let described = fermata(&["describe", "shop"]);
    assert!(
        described.contains("Build:            failed"),
        "{described}"
    );
    assert_eq!(space.call("shop", "").await.ok().text(), "apples");

    space.test_function("plain", &["serve"], json!({})).await;
    space.ready("plain").await;
    for command in [
        &["build", "logs", "plain"][..],
        &["build", "--fresh", "plain"],
    ] {
        let arguments = [&["-n", &space.name], command].concat();
        let (done, printed) = run(kubeconfig, &arguments);
        assert!(!done && printed.contains("nothing is built"), "{printed}");
    }

    write(dir.path(), "shop", &runtime_name, "pears");
    let deploy = [
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "-n",
        &space.name,
    ];
    let deploy = [&deploy[..], &["deploy", "-f", path]].concat();
    let shown = on_a_terminal(&deploy);
    assert!(shown.contains("shop build: collecting pears"), "{shown}");
    let far = "1 compiled, compiling wanted";
    assert!(shown.contains(far), "{shown}");
    assert!(shown.contains("\r\u{1b}[K"), "{shown}");
    // Nothing of it is left at the end.
    let last = shown.rsplit("\u{1b}[K").next().unwrap_or_default();
    assert!(last.contains("http://") && !last.contains(far), "{shown}");

    fermata(&["delete", "shop", "plain"]);
    let runtimes = Api::<Runtime>::all(space.client.clone());
    let params = DeleteParams::default();
    runtimes.delete(&runtime_name, &params).await.unwrap();
}

#[tokio::test]
async fn up_shows_builds_too() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("shop");
    fs::create_dir(&folder).unwrap();
    write(&folder, "shop", "building", "pears");
    fs::write(folder.join("runtime.json"), runtime("building").to_string()).unwrap();
    let up = Up::start(dir.path(), ["--ephemeral", "-f", "shop"]);
    let prints = async |part: &str| {
        eventually(part, async || {
            let printed = up.printed();
            let is_there = printed.contains(part);
            if is_there { Ok(()) } else { Err(printed) }
        })
        .await;
    };
    prints("build: collecting pears").await;
    prints("built in ").await;
    prints("revision shop-00001 is ready").await;
    fs::write(folder.join("wanted.txt"), "nothing").unwrap();
    prints("build: collecting nothing").await;
    prints("BuildFailed: ").await;
    fs::write(folder.join("wanted.txt"), "plums").unwrap();
    eventually("the mended one answers", async || {
        match up.platform().gateway().get("/function/shop").await.text() {
            text if text == "plums" => Ok(()),
            text => Err(format!("{text}\n{}", up.printed())),
        }
    })
    .await;
}
