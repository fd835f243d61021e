//! `git push` to a cluster: whoever has a token may do with it what the token allows, and no more.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use fermata_tests::{Cluster, SYSTEM, eventually, fermata_bin, kubectl, repository};
use http::Request;
use http_body_util::Full;
use serde_json::json;
use tempfile::TempDir;

/// What a proxy before the gateway says where it ends TLS.
const TLS: &str = "http.extraHeader=X-Forwarded-Proto: https";

/// A cluster that takes pushes, and a repository that pushes to it.
struct Pushed {
    cluster: Cluster,
    dir: TempDir,
}

/// How a command has ended, and what it has said.
struct Said {
    ok: bool,
    text: String,
}

// === impl Pushed ===

impl Pushed {
    async fn new() -> Self {
        let pushed = Self {
            cluster: Cluster::new().await,
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(pushed.work()).unwrap();
        let made = pushed.git(&["init", "--quiet", "--initial-branch=main"]);
        assert!(made.ok, "{}", made.text);
        pushed
    }

    fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// Installs the chart as the lane does, with further values.
    fn install(&self, more: &[&str]) {
        let (chart, values) = (
            repository().join("charts/fermata"),
            repository().join("tests/cluster/values.yaml"),
        );
        let (chart, values) = (chart.display().to_string(), values.display().to_string());
        let mut arguments = vec![
            "upgrade",
            "--install",
            "fermata",
            &chart,
            "--values",
            &values,
        ];
        arguments.extend(["--namespace", SYSTEM, "--wait", "--timeout=3m"]);
        arguments.extend(more);
        self.cluster.helm(&arguments);
    }

    /// The token of an account of the test's namespace, which is made with a role there, if one is given.
    fn token(&self, account: &str, role: Option<&str>) -> String {
        let namespace = &self.cluster.space.name;
        let kubectl = |arguments: &[&str]| {
            let all = [&["--namespace", namespace.as_str()], arguments].concat();
            self.cluster.kubectl(&all)
        };
        kubectl(&["create", "serviceaccount", account]);
        if let Some(role) = role {
            let (role, own) = (
                format!("--clusterrole={role}"),
                format!("--serviceaccount={namespace}:{account}"),
            );
            kubectl(&["create", "rolebinding", account, &role, &own]);
        }
        kubectl(&["create", "token", account]).trim().to_owned()
    }

    fn url(&self, token: &str, name: &str) -> String {
        let space = &self.cluster.space;
        let gateway = space.platform.gateway;
        format!("http://any:{token}@{gateway}/git/{}/{name}.git", space.name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.work().join(name), text).unwrap();
    }

    fn answers(&self, text: &str) {
        let code = format!("def handle(request):\n    return {text:?}\n");
        self.write("main.py", &code);
        self.commit();
    }

    fn commit(&self) {
        for arguments in [
            &["add", "--all"][..],
            &["commit", "--quiet", "--allow-empty", "--message=change"],
        ] {
            let said = self.git(arguments);
            assert!(said.ok, "{}", said.text);
        }
    }

    fn git(&self, arguments: &[&str]) -> Said {
        git(&self.work(), arguments)
    }

    fn push(&self, token: &str, name: &str) -> Said {
        self.git(&["-c", TLS, "push", &self.url(token, name), "HEAD:main"])
    }

    /// Pushes until it is answered by what takes pushes: the gateway may be a new one.
    async fn push_when_it_is_there(&self, token: &str, name: &str) -> Said {
        eventually("a push is answered", async || {
            let said = self.push(token, name);
            let is_away = ["error: 404", "error: 502", "error: 503", "onnect"];
            if said.ok || !is_away.iter().any(|away| said.text.contains(away)) {
                Ok(said)
            } else {
                Err(said.text)
            }
        })
        .await
    }
}

fn git(dir: &Path, arguments: &[&str]) -> Said {
    let output = Command::new("git")
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
        .args(arguments)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    Said {
        ok: output.status.success(),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

fn has(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is not in:\n{text}");
}

#[tokio::test]
async fn a_token_pushes_what_it_may() {
    let pushed = Pushed::new().await;
    let space = &pushed.cluster.space;
    // Whoever calls from this machine may say that it came by https.
    pushed.install(&["--set", "gateway.trustedProxies={0.0.0.0/0}"]);
    let may = pushed.token("may", Some("edit"));
    let reads = pushed.token("reads", Some("view"));
    let nobody = pushed.token("nobody", None);

    pushed.answers("one");
    let first = pushed.push_when_it_is_there(&may, "hello").await;
    assert!(first.ok, "{}", first.text);
    has(&first.text, "remote: hello is ready");
    assert!(!first.text.contains(&may), "{}", first.text);
    space.answers("hello", "one").await;

    // What does not become ready is refused, and what ran before stays.
    pushed.write("main.py", "def handle(request):\n    return (\n");
    pushed.commit();
    let broken = pushed.push(&may, "hello");
    assert!(!broken.ok, "{}", broken.text);
    has(&broken.text, "SyntaxError");
    has(&broken.text, "hello stays at");
    space.answers("hello", "one").await;
    pushed.answers("two");
    let second = pushed.push(&may, "hello");
    assert!(second.ok, "{}", second.text);
    space.answers("hello", "two").await;

    // Others are told what they may not.
    for (token, verb) in [(&reads, "create"), (&nobody, "get")] {
        let refused = pushed.push(token, "hello");
        assert!(!refused.ok, "{}", refused.text);
        has(
            &refused.text,
            &format!("does not allow to {verb} the function hello"),
        );
    }
    let clone = |token: &str, to: &str| {
        git(
            pushed.dir.path(),
            &[
                "-c",
                TLS,
                "clone",
                "--quiet",
                &pushed.url(token, "hello"),
                to,
            ],
        )
    };
    let cloned = clone(&reads, "reads");
    assert!(cloned.ok, "{}", cloned.text);
    let code = fs::read_to_string(pushed.dir.path().join("reads/main.py")).unwrap();
    has(&code, "two");
    has(&clone(&nobody, "nobody").text, "does not allow to get");
    let wrong = pushed.push("wrong", "hello");
    assert!(!wrong.ok, "{}", wrong.text);
    has(&wrong.text, "uthentication failed");

    // A token does not come in the open, whoever asks.
    let open = pushed.git(&["push", &pushed.url(&may, "hello"), "HEAD:main"]);
    assert!(!open.ok, "{}", open.text);
    has(&open.text, "by https alone");

    begins_anew(&pushed, &may).await;
    pushed.install(&[]);
    let claimed = eventually("the gateway answers", async || {
        let said = pushed.push(&may, "hello");
        if said.text.contains("by https alone") {
            Ok(said)
        } else {
            Err(said.text)
        }
    })
    .await;
    assert!(!claimed.ok, "{}", claimed.text);
}

/// What was pushed to a function goes with it.
async fn begins_anew(pushed: &Pushed, may: &str) {
    let space = &pushed.cluster.space;
    let url = pushed.url(may, "hello");
    let topic = pushed.git(&["-c", TLS, "push", &url, "HEAD:topic"]);
    has(&topic.text, "topic is stored and not deployed");
    space.remove("hello").await;
    let list = || pushed.git(&["-c", TLS, "ls-remote", &url]);
    has(&list().text, "nothing was pushed to hello yet");
    // Made again by other means, it is another function.
    let source = json!({"runtime": "python", "files": {"main.py": "def handle(request):\n    return 'other'\n"}});
    space.function("hello", json!({"source": source})).await;
    space.ready("hello").await;
    has(&list().text, "nothing was pushed to hello yet");
    // A push without the question before it does not get at what was there either.
    let request = Request::post(format!("/git/{}/hello.git/git-receive-pack", space.name))
        .header("authorization", format!("Bearer {may}"))
        .header("x-forwarded-proto", "https")
        .header("content-type", "application/x-git-receive-pack-request")
        .body(Full::from(Bytes::from_static(b"0000")));
    let answer = space.gateway().send(request.unwrap()).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    has(&list().text, "nothing was pushed to hello yet");
    let again = pushed.push(may, "hello");
    assert!(again.ok, "{}", again.text);
    has(&again.text, "[new branch]");
    space.answers("hello", "two").await;
    let listed = list();
    assert!(
        listed.ok && !listed.text.contains("topic"),
        "{}",
        listed.text
    );
}

/// A function with a file that no manifest holds.
fn write_model(folder: &Path, word: &str) {
    fs::create_dir_all(folder.join("data")).unwrap();
    let function = "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {name: model}\n\
        spec: {source: {runtime: python}}\n";
    fs::write(folder.join("function.yaml"), function).unwrap();
    fs::write(folder.join("data/model.bin"), vec![7; 5 * 1024 * 1024]).unwrap();
    let code = format!(
        "from pathlib import Path\n\n\ndef handle(request):\n\
         \x20   return f'{word} {{len(Path(\"data/model.bin\").read_bytes())}}'\n"
    );
    fs::write(folder.join("main.py"), code).unwrap();
}

/// Where repositories stay: a folder of this machine, which is the node. In memory, for there a tenth is free.
fn claim(pushed: &Pushed) -> TempDir {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let name = &pushed.cluster.space.name;
    let capacity = json!({"storage": "8Gi"});
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"capacity": capacity, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": dir.path()}},
    });
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "fermata-git"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": name,
            "resources": {"requests": capacity}},
    });
    for object in [volume, claim] {
        let file = pushed.dir.path().join("object.json");
        fs::write(&file, object.to_string()).unwrap();
        pushed
            .cluster
            .kubectl(&["apply", "-f", file.to_str().unwrap()]);
    }
    dir
}

/// The kubeconfig of a user who has this token.
fn kubeconfig(pushed: &Pushed, token: &str) -> PathBuf {
    let file = pushed.dir.path().join("kubeconfig");
    fs::copy(&pushed.cluster.space.platform.kubeconfig, &file).unwrap();
    let token = format!("--token={token}");
    for arguments in [
        &["set-credentials", "deployer", &token][..],
        &["set-context", "--current", "--user=deployer"],
    ] {
        let all = [&["config"], arguments].concat();
        let output = kubectl(&file, &all);
        assert!(output.status.success(), "{output:?}");
    }
    file
}

fn deploy(pushed: &Pushed, kubeconfig: &Path, token: Option<&str>) -> Said {
    let space = &pushed.cluster.space;
    let output = Command::new(fermata_bin())
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["-n", &space.name, "deploy", "--git-url"])
        .arg(format!("http://{}", space.platform.gateway))
        .arg("-f")
        .arg(pushed.dir.path().join("model"))
        .envs(token.map(|token| ("FERMATA_TOKEN", token)))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    Said {
        ok: output.status.success(),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

#[tokio::test]
async fn a_folder_that_is_too_large_for_a_manifest_is_deployed_with_a_token() {
    let pushed = Pushed::new().await;
    let space = &pushed.cluster.space;
    let admin = space.platform.kubeconfig.clone();
    write_model(&pushed.dir.path().join("model"), "one");
    let may = pushed.token("may", Some("edit"));
    let reads = pushed.token("reads", Some("view"));
    let own = kubeconfig(&pushed, &may);

    // Where repositories go with a pod it is said before anything is sent.
    let refused = deploy(&pushed, &own, None);
    assert!(!refused.ok, "{}", refused.text);
    has(&refused.text, "git.push.existingClaim");
    has(&refused.text, "data/model.bin (5.0 MiB)");

    let repositories = claim(&pushed);
    let name = &space.name;
    let values = format!("git.push.existingClaim={name},git.push.plainHttp=true");
    pushed.install(&["--set", &values]);
    let first = eventually("what takes pushes is there", async || {
        let said = deploy(&pushed, &own, None);
        if said.ok { Ok(said) } else { Err(said.text) }
    })
    .await;
    assert!(!first.text.contains(&may), "{}", first.text);
    space.answers("model", "one 5242880").await;

    // Nothing of it is sent twice, whoever deploys; a certificate alone is no token.
    let again = deploy(&pushed, &admin, Some(&may));
    assert!(again.ok, "{}", again.text);
    assert!(!again.text.contains("stored as"), "{}", again.text);
    let nobody = deploy(&pushed, &admin, None);
    assert!(!nobody.ok, "{}", nobody.text);
    has(&nobody.text, "FERMATA_TOKEN");
    let viewer = deploy(&pushed, &admin, Some(&reads));
    assert!(!viewer.ok, "{}", viewer.text);
    has(&viewer.text, "does not allow to create the function model");

    // A change is another bundle, and the instance that fetches it wakes what keeps it.
    write_model(&pushed.dir.path().join("model"), "two");
    let second = deploy(&pushed, &own, None);
    assert!(second.ok, "{}", second.text);
    has(&second.text, "model: 5.0 MiB in 2 files stored as ");
    space.answers("model", "two 5242880").await;

    // The key is for the bundles of its function.
    let key = || {
        let output = "go-template={{.data.token | base64decode}}";
        let get = [
            "-n",
            &space.name,
            "get",
            "secret",
            "model-bundles",
            "-o",
            output,
        ];
        pushed.cluster.try_kubectl(&get)
    };
    let own_key = key().unwrap();
    let own_key = own_key.trim();
    let list = |user: &str, name: &str| {
        let url = pushed.url(user, name);
        pushed.git(&["ls-remote", &url])
    };
    let listed = list(own_key, "model.bundles");
    assert!(listed.ok, "{}", listed.text);
    assert_eq!(listed.text.matches("refs/bundles/").count(), 2);
    for (user, name) in [
        (own_key, "model"),
        (own_key, "other.bundles"),
        ("fermata-bundles-0", "model.bundles"),
    ] {
        let refused = list(user, name);
        assert!(!refused.ok, "{user} {name}: {}", refused.text);
    }
    let written = pushed.git(&[
        "push",
        &pushed.url(own_key, "model.bundles"),
        "HEAD:refs/bundles/x",
    ]);
    assert!(!written.ok, "{}", written.text);

    // A push may hold as much.
    write_model(&pushed.work(), "three");
    pushed.commit();
    let third = pushed.push(&may, "model");
    assert!(third.ok, "{}", third.text);
    has(&third.text, "remote: model: 5.0 MiB in 2 files stored as ");
    space.answers("model", "three 5242880").await;

    // The key goes with the function.
    space.remove("model").await;
    eventually("the key is gone", async || match key() {
        Ok(_) => Err("it is there".to_owned()),
        Err(_) => Ok(()),
    })
    .await;
    pushed.install(&[]);
    for kind in ["pvc", "pv"] {
        let delete = ["-n", "fermata-git", "delete", kind, name, "--wait=false"];
        pushed.cluster.kubectl(&delete);
    }
    drop(repositories);
}

#[tokio::test]
async fn what_takes_pushes_has_no_rights_and_no_token() {
    let cluster = Cluster::new().await;
    let pods = || cluster.kubectl(&["--namespace", "fermata-git", "get", "pods", "--output=json"]);
    let pod = eventually("it runs", async || {
        let pods: serde_json::Value = serde_json::from_str(&pods()).unwrap();
        match pods["items"].get(0) {
            Some(pod) => Ok(pod.clone()),
            None => Err("there is no pod".to_owned()),
        }
    })
    .await;
    assert_eq!(
        pod["spec"]["automountServiceAccountToken"], false,
        "{pod:#}"
    );
    let volumes = pod["spec"]["volumes"].to_string();
    assert!(!volumes.contains("serviceAccountToken"), "{volumes}");
    let account = "system:serviceaccount:fermata-git:default";
    for right in ["get", "patch"] {
        let may = cluster.try_kubectl(&[
            "auth",
            "can-i",
            right,
            "functions.fermata.dev",
            "-A",
            "--as",
            account,
        ]);
        assert!(may.is_err(), "{right}: {may:?}");
    }
}
