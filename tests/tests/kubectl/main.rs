//! An unmodified kubectl is at home on the cluster.

mod streams;

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use fermata_tests::{Space, eventually, examples, kubectl};
use serde_json::{Value, json};

/// kubectl in one namespace.
struct Kubectl(Space);

impl Kubectl {
    /// Runs it; gives whether it succeeded, and everything it printed.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let mut all = vec!["-n", self.0.name.as_str()];
        all.extend(arguments);
        let output = kubectl(&self.0.platform.kubeconfig, &all);
        let printed = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&printed).into_owned(),
        )
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let (ok, printed) = self.run(arguments);
        assert!(ok, "kubectl {arguments:?}: {printed}");
        printed
    }

    fn fails(&self, arguments: &[&str]) -> String {
        let (ok, printed) = self.run(arguments);
        assert!(!ok, "kubectl {arguments:?} succeeded: {printed}");
        printed
    }

    /// The command of it, for what goes on or is talked to.
    fn command(&self, arguments: &[&str]) -> Command {
        let program = std::env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into());
        let mut command = Command::new(program);
        command
            .arg("--kubeconfig")
            .arg(&self.0.platform.kubeconfig)
            .args(["-n", &self.0.name])
            .args(arguments);
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        serde_json::from_str(&self.ok(&all)).expect("it prints JSON")
    }
}

async fn space() -> Kubectl {
    Kubectl(Space::new().await)
}

/// A file with these objects.
fn file(objects: &[Value]) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    for object in objects {
        writeln!(file, "---\n{object}").unwrap();
    }
    file
}

/// A pod that does nothing, and may do nothing.
fn waiting() -> Value {
    json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 1,
        "containers": [{
            "name": "a", "image": "localhost/fermata-test-function:1",
            "command": ["fermata-test-function", "never-listens"],
            "env": [{"name": "ONE", "value": "1"}],
            "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            },
        }],
    })
}

fn hello(answer: &str) -> Value {
    json!({
        "apiVersion": "fermata.dev/v1alpha1", "kind": "Function", "metadata": {"name": "hello"},
        "spec": {"source": {"runtime": "python", "files": {"main.py": format!("def handle(request):\n    return {answer:?}\n")}}},
    })
}

#[tokio::test]
async fn apply_get_wait_describe_and_delete() {
    let k = space().await;
    let example = examples("hello.yaml");
    let example = example.to_str().unwrap();
    assert!(
        k.ok(&["apply", "-f", example])
            .contains("function.fermata.dev/hello created")
    );
    k.ok(&["wait", "--for=condition=Ready", "fn/hello", "--timeout=60s"]);
    assert!(k.ok(&["apply", "-f", example]).contains("unchanged"));
    let table = k.ok(&["get", "fn"]);
    let mut lines = table.lines();
    let header: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(
        header,
        [
            "NAME", "URL", "READY", "REVISION", "REPLICAS", "BACKLOG", "REASON", "AGE"
        ]
    );
    let row = lines.next().unwrap();
    assert!(
        row.starts_with("hello")
            && row.contains("http://hello.")
            && row.contains("True")
            && row.contains("hello-00001"),
        "{row}"
    );
    assert!(
        k.ok(&["get", "fermata"])
            .contains("revision.fermata.dev/hello-00001")
    );
    assert!(
        k.ok(&["get", "fn,rev,deploy,rs,pods,svc", "-o", "name"])
            .contains("deployment.apps/hello-00001")
    );
    assert_eq!(
        k.json(&["get", "fn", "hello"])["spec"]["source"]["runtime"],
        "python"
    );
    assert!(
        k.ok(&["get", "fn", "hello", "-o", "yaml"])
            .contains("kind: Function")
    );
    let described = k.ok(&["describe", "fn", "hello"]);
    assert!(
        described.contains("Latest Ready Revision") && described.contains("RevisionReady"),
        "{described}"
    );
    assert!(k.ok(&["delete", "-f", example]).contains("deleted"));
    assert!(
        k.fails(&["get", "fn", "hello"])
            .contains("functions.fermata.dev \"hello\" not found")
    );
}

#[tokio::test]
async fn explain_knows_every_field() {
    let k = space().await;
    let scale = k.ok(&["explain", "fn.spec.scale"]);
    for field in ["min", "max", "idleAfter", "window", "queue"] {
        assert!(scale.contains(field), "{scale}");
    }
    assert!(
        k.ok(&["explain", "function.spec.timeouts.request"])
            .contains("Default: 300s")
    );
    assert!(
        k.ok(&["explain", "pod.spec.containers.image"])
            .contains("image")
    );
    assert!(
        k.ok(&["explain", "deployment.spec.replicas"])
            .contains("replicas")
    );
    let resources = k.ok(&["api-resources"]);
    for name in [
        "functions",
        "revisions",
        "runtimes",
        "deployments",
        "pods",
        "events",
    ] {
        assert!(resources.contains(name), "{resources}");
    }
    assert!(k.ok(&["api-versions"]).contains("fermata.dev/v1alpha1"));
    assert!(k.ok(&["version"]).contains("Server Version"));
}

#[tokio::test]
async fn server_side_apply_dry_run_and_diff() {
    let k = space().await;
    let (one, two) = (file(&[hello("one")]), file(&[hello("two")]));
    let (one, two) = (one.path().to_str().unwrap(), two.path().to_str().unwrap());
    assert!(
        k.ok(&["apply", "--server-side", "--dry-run=server", "-f", one])
            .contains("serverside-applied (server dry run)")
    );
    assert!(k.fails(&["get", "fn", "hello"]).contains("not found"));
    k.ok(&["apply", "--server-side", "-f", one]);
    let diff = k.fails(&["diff", "--server-side", "-f", two]);
    assert!(
        diff.contains("-") && diff.contains("return \"two\""),
        "{diff}"
    );
    k.ok(&["diff", "--server-side", "-f", one]);
    let conflict = k.fails(&["apply", "--server-side", "--field-manager=other", "-f", two]);
    assert!(
        conflict.contains("conflict with \"kubectl\"")
            && conflict.contains(".spec.source.files.main.py"),
        "{conflict}"
    );
    k.ok(&[
        "apply",
        "--server-side",
        "--field-manager=other",
        "--force-conflicts",
        "-f",
        two,
    ]);
    let managed = k.json(&["get", "fn", "hello", "--show-managed-fields"]);
    let managers: Vec<&str> = managed["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["manager"].as_str())
        .collect();
    assert!(managers.contains(&"other"), "{managers:?}");
    assert!(k.fails(&["apply", "--validate=strict", "-f", file(&[json!({
        "apiVersion": "fermata.dev/v1alpha1", "kind": "Function", "metadata": {"name": "x"}, "spec": {"image": "a", "imgae": "b"},
    })]).path().to_str().unwrap()]).contains("imgae"));
}

#[tokio::test]
async fn patches_of_all_types() {
    let k = space().await;
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": waiting(),
        }},
    });
    let deployment = file(&[deployment]);
    k.ok(&["apply", "-f", deployment.path().to_str().unwrap()]);
    assert!(
        k.ok(&["rollout", "status", "deploy/web", "--timeout=60s"])
            .contains("successfully rolled out")
    );
    k.ok(&["patch", "deploy", "web", "--type=strategic", "-p", r#"{"spec":{"template":{"spec":{"containers":[{"name":"a","env":[{"name":"TWO","value":"2"}]}]}}}}"#]);
    let env =
        &k.json(&["get", "deploy", "web"])["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(env.as_array().unwrap().len(), 2, "{env}");
    k.ok(&[
        "patch",
        "deploy",
        "web",
        "--type=merge",
        "-p",
        r#"{"metadata":{"annotations":{"a":"b"}}}"#,
    ]);
    k.ok(&["patch", "deploy", "web", "--type=json", "-p", r#"[{"op":"test","path":"/metadata/annotations/a","value":"b"},{"op":"remove","path":"/metadata/annotations/a"}]"#]);
    assert_eq!(
        k.json(&["get", "deploy", "web"])["metadata"]["annotations"]["a"],
        Value::Null
    );
    k.ok(&["scale", "deploy", "web", "--replicas=2"]);
    assert!(
        k.ok(&["rollout", "status", "deploy/web", "--timeout=60s"])
            .contains("successfully rolled out")
    );
    assert_eq!(
        k.json(&["get", "deploy", "web"])["status"]["readyReplicas"],
        2
    );
    k.ok(&["label", "deploy", "web", "team=shop"]);
    k.ok(&["annotate", "deploy", "web", "note=here"]);
    assert!(
        k.ok(&["get", "deploy", "-l", "team in (shop)", "--show-labels"])
            .contains("team=shop")
    );
    k.ok(&["set", "env", "deploy/web", "THREE=3"]);
    assert!(
        k.ok(&["rollout", "status", "deploy/web", "--timeout=60s"])
            .contains("successfully rolled out")
    );
    assert!(
        k.ok(&["rollout", "history", "deploy/web"])
            .contains("REVISION")
    );
    k.ok(&["delete", "deploy", "web", "--cascade=orphan"]);
    assert!(
        k.ok(&["get", "rs", "-o", "name"])
            .contains("replicaset.apps/web-")
    );
    k.ok(&[
        "delete",
        "rs",
        "-l",
        "app=web",
        "--cascade=foreground",
        "--timeout=60s",
    ]);
    eventually("the pods are gone", async || {
        let pods = k.ok(&["get", "pods", "-l", "app=web", "-o", "name"]);
        if pods.trim().is_empty() {
            Ok(())
        } else {
            Err(pods)
        }
    })
    .await;
}

#[tokio::test]
async fn an_editor_edits() {
    let k = space().await;
    let manifest = file(&[hello("one")]);
    k.ok(&["apply", "-f", manifest.path().to_str().unwrap()]);
    let mut all = vec![
        "--kubeconfig",
        k.0.platform.kubeconfig.to_str().unwrap(),
        "-n",
        &k.0.name,
    ];
    all.extend(["edit", "fn", "hello"]);
    let program = std::env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into());
    let edited = Command::new(program)
        .args(&all)
        .env("KUBE_EDITOR", r#"sed -i s/one/two/"#)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        edited.status.success(),
        "{}",
        String::from_utf8_lossy(&edited.stderr)
    );
    assert!(
        k.json(&["get", "fn", "hello"])["spec"]["source"]["files"]["main.py"]
            .as_str()
            .unwrap()
            .contains("two")
    );
}

#[tokio::test]
async fn watches_and_logs_follow() {
    let k = space().await;
    let started = |arguments: &[&str]| {
        let program = std::env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into());
        let out = tempfile::NamedTempFile::new().unwrap();
        let child = Command::new(program)
            .args([
                "--kubeconfig",
                k.0.platform.kubeconfig.to_str().unwrap(),
                "-n",
                &k.0.name,
            ])
            .args(arguments)
            .stdout(out.reopen().unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        (child, out)
    };
    let read = |file: &tempfile::NamedTempFile| std::fs::read_to_string(file.path()).unwrap();
    let (mut watch, watched) = started(&["get", "fn", "-w"]);
    let code = "def handle(request):\n    print('called with', request.text(), flush=True)\n    return 'ok'\n";
    k.0.function(
        "talks",
        json!({"source": {"runtime": "python", "files": {"main.py": code}}}),
    )
    .await;
    k.0.ready("talks").await;
    eventually("the watch has shown it", async || {
        let text = read(&watched);
        if text
            .lines()
            .any(|line| line.starts_with("talks") && line.contains("True"))
        {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await;
    let pod = k.ok(&["get", "pods", "-o", "jsonpath={.items[0].metadata.name}"]);
    let (mut follow, followed) = started(&["logs", "-f", &pod]);
    k.0.call("talks", "first").await.ok();
    k.0.call("talks", "second").await.ok();
    eventually("the log has followed", async || {
        let text = read(&followed);
        if text.contains("called with first") && text.contains("called with second") {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await;
    assert!(k.ok(&["logs", &pod, "--tail=1"]).contains("second"));
    assert!(
        k.ok(&["logs", &pod, "--timestamps", "--since=1h"])
            .contains('T')
    );
    let events = k.ok(&["events"]);
    assert!(events.contains("RevisionCreated"), "{events}");
    assert!(
        k.ok(&[
            "get",
            "events",
            "--field-selector",
            "involvedObject.kind=Function"
        ])
        .contains("function/talks")
    );
    for child in [&mut watch, &mut follow] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[tokio::test]
async fn what_get_prints_is_what_apply_takes() {
    let k = space().await;
    let map = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": name},
        })
    };
    // Validated, as is the default: kubectl asks the server whether it can.
    let both = json!({"apiVersion": "v1", "kind": "List", "items": [map("one"), map("two")]});
    let list = file(&[both]);
    k.ok(&["apply", "-f", list.path().to_str().unwrap()]);
    let printed = k.json(&["get", "configmap", "one", "two"]);
    assert_eq!(printed["kind"], "List");
    let printed = file(&[printed]);
    let applied = k.ok(&["apply", "-f", printed.path().to_str().unwrap()]);
    for name in ["configmap/one", "configmap/two"] {
        assert!(applied.contains(name), "{applied}");
    }
    let mut wrong = map("three");
    wrong["dota"] = json!({});
    let wrong = json!({"apiVersion": "v1", "kind": "List", "items": [wrong]});
    let wrong = file(&[wrong]);
    let refused = k.fails(&["apply", "-f", wrong.path().to_str().unwrap()]);
    assert!(refused.contains("dota"), "{refused}");
}

#[tokio::test]
async fn a_token_says_who_one_is_and_opens_nothing() {
    let k = space().await;
    eventually("the default ServiceAccount is there", async || {
        let (ok, printed) = k.run(&["get", "serviceaccount", "default"]);
        if ok { Ok(()) } else { Err(printed) }
    })
    .await;
    let short = k.fails(&["create", "token", "default", "--duration=1m"]);
    assert!(short.contains("less than 10 minutes"), "{short}");
    let token = k.ok(&["create", "token", "default", "--duration=10m"]);
    let mut config: Value = k.json(&["config", "view", "--raw"]);
    for user in config["users"].as_array_mut().unwrap() {
        user["user"] = json!({"token": token.trim()});
    }
    let config = file(&[config]);
    let as_account = |arguments: &[&str]| {
        let mut all = vec!["-n", k.0.name.as_str()];
        all.extend(arguments);
        let output = kubectl(config.path(), &all);
        let printed = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&printed).into_owned(),
        )
    };
    let (ok, who) = as_account(&["auth", "whoami"]);
    let name = format!("system:serviceaccount:{}:default", k.0.name);
    assert!(ok && who.contains(&name), "{who}");
    let (ok, refused) = as_account(&["get", "pods"]);
    assert!(
        !ok && refused.contains("Forbidden") && refused.contains(&name),
        "{refused}"
    );
}

#[tokio::test]
async fn pods_are_removed_by_force_too() {
    let k = space().await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lone"},
        "spec": waiting(),
    });
    let pod = file(&[pod]);
    k.ok(&["create", "-f", pod.path().to_str().unwrap()]);
    k.ok(&["wait", "--for=condition=Ready", "pod/lone", "--timeout=60s"]);
    assert!(k.ok(&["get", "pods", "-o", "wide"]).contains("1/1"));
    let class = ["get", "pod", "lone", "-o", "jsonpath={.status.qosClass}"];
    assert_eq!(k.ok(&class), "BestEffort");
    assert!(
        k.fails(&["create", "-f", pod.path().to_str().unwrap()])
            .contains("already exists")
    );
    k.ok(&[
        "delete",
        "pod",
        "lone",
        "--force",
        "--grace-period=0",
        "--timeout=20s",
    ]);
    eventually("the pod is gone", async || {
        match k.run(&["get", "pod", "lone"]) {
            (false, printed) if printed.contains("not found") => Ok(()),
            (_, printed) => Err(printed),
        }
    })
    .await;
}
