//! `git push` to a cluster: whoever has a token may do with it what the token allows, and no more.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use fermata_tests::{Cluster, SYSTEM, eventually, repository};
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
