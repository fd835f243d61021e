//! `git push` to `fermata up`, with the real git.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use fermata_tests::{Up, eventually, fermata};
use tempfile::TempDir;

/// The user whom nothing belongs to.
const NOBODY: u32 = 65534;

/// A `fermata up`, and a repository that pushes to it.
struct Pushed {
    up: Up,
    dir: TempDir,
}

/// How a command has ended, and what it has said.
struct Said {
    ok: bool,
    text: String,
}

// === impl Pushed ===

impl Pushed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let up = Up::start(dir.path(), ["--ephemeral"]);
        let pushed = Self { up, dir };
        fs::create_dir(pushed.work()).unwrap();
        pushed.ok(&["init", "--quiet", "--initial-branch=main"]);
        pushed
    }

    fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    fn gateway(&self) -> SocketAddr {
        self.up.platform().gateway
    }

    fn url(&self, name: &str) -> String {
        format!("http://{}/git/{name}.git", self.gateway())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn git(&self, arguments: &[&str]) -> Said {
        said(git(&self.work()).args(arguments))
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let Said { ok, text } = self.git(arguments);
        assert!(ok, "git {arguments:?}: {text}\n{}", self.up.printed());
        text
    }

    fn commit(&self) -> String {
        self.ok(&["add", "--all"]);
        self.ok(&["commit", "--quiet", "--allow-empty", "--message=change"]);
        self.ok(&["rev-parse", "--short=7", "HEAD"])
            .trim()
            .to_owned()
    }

    /// Commits everything and pushes it to a function.
    fn push(&self, name: &str) -> Said {
        self.commit();
        self.git(&["push", &self.url(name), "HEAD:main"])
    }

    fn pushed(&self, name: &str) -> String {
        let Said { ok, text } = self.push(name);
        assert!(ok, "{text}\n{}", self.up.printed());
        text
    }

    fn refused(&self, name: &str) -> String {
        let Said { ok, text } = self.push(name);
        assert!(!ok, "{text}");
        text
    }

    async fn call(&self, name: &str) -> String {
        let gateway = self.up.platform().gateway();
        gateway.get(&format!("/function/{name}")).await.text()
    }

    fn fermata(&self, arguments: &[&str]) -> String {
        let output = fermata(&self.up.platform().kubeconfig, arguments);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn git(dir: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"]);
    git
}

fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    Said {
        ok: output.status.success(),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

fn has(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is not in:\n{text}");
}

fn python(answer: &str) -> String {
    format!("def handle(request):\n    return {answer:?}\n")
}

#[tokio::test]
async fn a_push_makes_a_function_and_the_next_one_rolls_it() {
    let pushed = Pushed::new();
    pushed.write("main.py", python("one"));
    let text = pushed.pushed("hello");
    has(&text, "remote: hello is ready");
    let url = text
        .lines()
        .filter_map(|line| line.strip_prefix("remote: "))
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .unwrap();
    assert!(url.starts_with("http://hello.default.localhost"), "{text}");
    assert_eq!(pushed.call("hello").await, "one");

    pushed.write("main.py", python("two"));
    pushed.pushed("hello");
    assert_eq!(pushed.call("hello").await, "two");

    // The same files are the same revision.
    let listed = pushed.fermata(&["list", "-o", "json"]);
    pushed.pushed("hello");
    let again = pushed.fermata(&["list", "-o", "json"]);
    let revision = |listed: &str| {
        let listed: serde_json::Value = serde_json::from_str(listed).unwrap();
        listed["items"][0]["status"]["latestCreatedRevision"].clone()
    };
    assert_eq!(revision(&listed), revision(&again));
    let text = pushed.ok(&["push", &pushed.url("hello"), "HEAD:main"]);
    has(&text, "Everything up-to-date");

    // What was deleted is pushed as if it were new.
    pushed.fermata(&["delete", "hello"]);
    pushed.ok(&["push", &pushed.url("hello"), "HEAD:main"]);
    assert_eq!(pushed.call("hello").await, "two");

    // It is there to be cloned, also by the long name.
    let url = pushed.url("default/hello");
    let clone = pushed.dir.path().join("clone");
    let cloned = said(git(pushed.dir.path()).args(["clone", "--quiet", &url, "clone"]));
    assert!(cloned.ok, "{}", cloned.text);
    assert_eq!(
        fs::read_to_string(clone.join("main.py")).unwrap(),
        python("two")
    );
    let absent = said(git(pushed.dir.path()).args(["clone", &pushed.url("absent"), "absent"]));
    has(&absent.text, "nothing was pushed to absent yet");
}

#[tokio::test]
async fn what_does_not_become_ready_is_refused_and_what_ran_before_stays() {
    let pushed = Pushed::new();
    pushed.write("main.py", python("good"));
    pushed.pushed("hello");
    let good = pushed.ok(&["rev-parse", "--short=7", "HEAD"]);

    pushed.write("main.py", "def handle(request):\n    return (\n");
    let text = pushed.refused("hello");
    has(&text, "SyntaxError");
    has(&text, &format!("hello stays at {}", good.trim()));
    assert_eq!(pushed.call("hello").await, "good");
    let manifest = pushed.fermata(&["list", "-o", "yaml"]);
    assert!(manifest.contains("good"), "{manifest}");
    let remote = pushed.ok(&["ls-remote", &pushed.url("hello"), "main"]);
    assert!(remote.starts_with(good.trim()), "{remote}");

    pushed.write("main.py", python("mended"));
    pushed.pushed("hello");
    assert_eq!(pushed.call("hello").await, "mended");

    // History may be written anew.
    pushed.ok(&["reset", "--quiet", "--hard", good.trim()]);
    pushed.write("main.py", python("other"));
    pushed.commit();
    let url = pushed.url("hello");
    let plain = pushed.git(&["push", &url, "HEAD:main"]);
    assert!(!plain.ok, "{}", plain.text);
    pushed.ok(&["push", "--force", &url, "HEAD:main"]);
    assert_eq!(pushed.call("hello").await, "other");
}

#[tokio::test]
async fn what_is_no_function_is_told_why() {
    let pushed = Pushed::new();
    pushed.write("notes.txt", "nothing that runs");
    has(
        &pushed.refused("hello"),
        "nothing says what runs these files",
    );

    pushed.write("main.py", python("hello"));
    pushed.write("go.mod", "module hello\n");
    has(
        &pushed.refused("hello"),
        "main.py speaks for python and go.mod for go",
    );
    fs::remove_file(pushed.work().join("go.mod")).unwrap();

    let manifest = |name: &str| {
        format!(
            "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {{name: {name}}}\nspec: {{source: {{runtime: python}}}}\n"
        )
    };
    pushed.write("function.yaml", manifest("other"));
    has(&pushed.refused("hello"), "/git/other.git");
    pushed.write("function.yaml", manifest("hello") + "unknown: field\n");
    has(&pushed.refused("hello"), "unknown");
    pushed.write("function.yaml", manifest("hello"));
    pushed.write(
        "secret.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n",
    );
    has(&pushed.refused("hello"), "secret.yaml has a Secret");
    fs::remove_file(pushed.work().join("secret.yaml")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", pushed.work().join("passwd")).unwrap();
    has(&pushed.refused("hello"), "passwd");
    fs::remove_file(pushed.work().join("passwd")).unwrap();
    pushed.pushed("hello");
    assert_eq!(pushed.call("hello").await, "hello");

    // Other branches and tags are kept, and nothing is deleted.
    let url = pushed.url("hello");
    pushed.write("main.py", python("topic"));
    pushed.commit();
    let text = pushed.ok(&["push", &url, "HEAD:topic", "HEAD:refs/tags/v1"]);
    has(&text, "topic is stored and not deployed");
    assert_eq!(pushed.call("hello").await, "hello");
    let deleted = pushed.git(&["push", &url, ":topic"]);
    assert!(!deleted.ok);
    has(&deleted.text, "topic is not deleted");
    let notes = pushed.git(&["push", &url, "HEAD:refs/notes/x"]);
    has(&notes.text, "push branches and tags");
    let name = pushed.git(&["push", &pushed.url("Hello"), "HEAD:main"]);
    has(&name.text, "no function can have this name");
}

#[tokio::test]
async fn what_cannot_be_taken_is_told_and_leaves_nothing() {
    let pushed = Pushed::new();
    pushed.write("main.py", python("hello"));
    let refused = pushed.refused("absent/hello");
    has(&refused, "absent");
    let repositories = pushed.dir.path().join("data/git");
    eventually("nothing is left of it", async || {
        if repositories.join("absent").exists() {
            Err("the folder is there".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
    let own = pushed.refused("fermata-system/git");
    has(&own, "functions of the platform itself");

    // More than a push may hold: nothing that can be made smaller.
    let mut number = 1_u64;
    let large: Vec<u8> = std::iter::repeat_with(|| {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        number.to_be_bytes()
    })
    .flatten()
    .take(101 << 20)
    .collect();
    pushed.write("large.bin", &large);
    let refused = pushed.refused("hello");
    has(&refused, "pack exceeds maximum allowed size");
}

#[tokio::test]
async fn folders_and_other_content_than_text_are_pushed_too() {
    let pushed = Pushed::new();
    pushed.write(
        "main.py",
        "from pathlib import Path\nfrom lib.deep.words import WORD\n\ndef handle(request):\n    return WORD + str(len(Path('data/logo.bin').read_bytes()))\n",
    );
    pushed.write("lib/deep/words.py", "WORD = 'bytes: '\n");
    pushed.write("data/logo.bin", [0, 159, 146, 150]);
    // More than git sends at once; what cannot be source may be in the repository all the same.
    let mut number = 1_u64;
    let large: Vec<u8> = std::iter::repeat_with(|| {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        number.to_be_bytes()[0]
    })
    .take(3 << 20)
    .collect();
    pushed.write("large.bin", &large);
    pushed.write(".fermataignore", "large.bin\n");
    pushed.pushed("hello");
    assert_eq!(pushed.call("hello").await, "bytes: 4");
    let cloned = said(git(pushed.dir.path()).args(["clone", &pushed.url("hello"), "clone"]));
    assert!(cloned.ok, "{}", cloned.text);
    let large_again = fs::read(pushed.dir.path().join("clone/large.bin")).unwrap();
    assert!(large_again == large);
}

/// A commit of a few hundred bytes may list files without end, and a link may lead to what is somebody else's.
#[tokio::test]
async fn a_commit_is_no_way_to_more_than_its_files() {
    let pushed = Pushed::new();
    pushed.write("main.py", python("one"));
    pushed.commit();
    let blob = pushed.ok(&["rev-parse", "HEAD:main.py"]);
    let tree = |kind: &str, object: &str| {
        let entries: String = (0..10)
            .map(|number| format!("{kind} {}\t{number}\n", object.trim()))
            .collect();
        fs::write(pushed.dir.path().join("entries"), entries).unwrap();
        let entries = fs::File::open(pushed.dir.path().join("entries")).unwrap();
        said(git(&pushed.work()).arg("mktree").stdin(entries)).text
    };
    let mut last = tree("100644 blob", &blob);
    for _ in 0..9 {
        last = tree("040000 tree", &last);
    }
    let bomb = pushed.ok(&["commit-tree", "-m", "x", last.trim()]);
    let refspec = format!("{}:refs/heads/main", bomb.trim());
    let Said { ok, text } = pushed.git(&["push", &pushed.url("hello"), &refspec]);
    assert!(!ok, "{text}");
    has(&text, "at most 10000 files are taken");

    symlink("/etc/passwd", pushed.work().join(".fermataignore")).unwrap();
    let text = pushed.refused("hello");
    has(&text, "is a link out of");
    assert!(!text.contains("root:"), "{text}");
}

#[tokio::test]
async fn one_push_of_a_function_is_under_way_at_a_time() {
    let pushed = Pushed::new();
    let dir = pushed.dir.path();
    let (begun, go) = (dir.join("begun"), dir.join("go"));
    // It becomes ready when the test says so.
    pushed.write(
        "main.py",
        format!(
            "import os, time\nopen({begun:?}, 'w').close()\nwhile not os.path.exists({go:?}):\n    time.sleep(0.05)\n\ndef handle(request):\n    return 'slow'\n"
        ),
    );
    pushed.commit();
    let first = Kill(
        git(&pushed.work())
            .args(["push", &pushed.url("hello"), "HEAD:main"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    eventually("the first push is under way", async || {
        if begun.exists() {
            Ok(())
        } else {
            Err(String::new())
        }
    })
    .await;
    let second = pushed.push("hello");
    assert!(!second.ok);
    has(&second.text, "another push to hello is under way");
    // One to another function is not held up.
    let other = pushed.git(&["push", &pushed.url("other"), "HEAD:topic"]);
    assert!(other.ok, "{}", other.text);
    fs::write(&go, "").unwrap();
    let mut first = first;
    assert!(first.0.wait().unwrap().success());
    assert_eq!(pushed.call("hello").await, "slow");
}

/// A process that ends with the test.
struct Kill(Child);

impl Drop for Kill {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn nobody_else_pushes() {
    let pushed = Pushed::new();
    pushed.write("main.py", python("mine"));
    pushed.pushed("hello");
    let gateway = pushed.gateway();
    let asked = format!("http://{gateway}/git/hello.git/info/refs?service=git-receive-pack");
    let curl = |arguments: &[&str]| {
        let said = said(
            Command::new("curl")
                .args(["-s", "-w", "\n%{http_code}"])
                .args(arguments),
        );
        said.text.trim().to_owned()
    };
    let answer = curl(&[&asked]);
    assert!(answer.ends_with("200"), "{answer}");

    // A web page, and a name that may lead anywhere.
    for headers in [
        &["-H", "Origin: http://evil.example"][..],
        &["-H", "Sec-Fetch-Site: cross-site"],
        &["-H", "Host: evil.example"],
    ] {
        let answer = curl(&[headers, &[asked.as_str()]].concat());
        assert!(answer.ends_with("403"), "{headers:?}: {answer}");
    }
    // What anybody can write says nothing.
    let claim = "Forwarded: for=\"127.0.0.1:1\"";
    let answer = curl(&["-H", claim, &asked]);
    assert!(answer.ends_with("200"), "{answer}");
    // It has no name, and the listener for the cluster does not lead there.
    let internal = pushed.up.platform().internal;
    let inside = format!(
        "http://{internal}/function/git.fermata-system/git/hello.git/info/refs?service=git-receive-pack"
    );
    let answer = curl(&[&inside]);
    assert!(answer.ends_with("404"), "{answer}");
    let path = format!("http://{internal}/git/hello.git/info/refs?service=git-receive-pack");
    let answer = curl(&[&path]);
    assert!(answer.ends_with("404"), "{answer}");
    // The function's own port is asked without the gateway.
    let ports = pushed.fermata(&["-n", "fermata-system", "list"]);
    has(&ports, "git");
    let port = own_port(&pushed).await;
    let direct =
        format!("http://127.0.0.1:{port}/git/hello.git/info/refs?service=git-receive-pack");
    assert!(curl(&[&direct]).ends_with("403"));

    // CI is root; whoever is not cannot be another.
    if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) != 0) {
        println!("not root: another user's pushes are not tested");
        return;
    }
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args([
            &format!("--reuid={NOBODY}"),
            "--clear-groups",
            "curl",
            "-s",
            "-w",
            "\n%{http_code}",
        ]);
        said(command.args(arguments)).text.trim().to_owned()
    };
    for target in [&asked, &direct] {
        let answer = as_nobody(&[target]);
        assert!(answer.ends_with("403"), "{answer}");
    }
    // Not with the claim that it is somebody else, either.
    let held = std::net::TcpStream::connect(gateway).unwrap();
    let claim = format!("Forwarded: for=\"{}\"", held.local_addr().unwrap());
    let answer = as_nobody(&["-H", &claim, &direct]);
    assert!(answer.ends_with("403"), "{answer}");
    let answer = as_nobody(&["-H", &claim, &asked]);
    assert!(answer.ends_with("403"), "{answer}");

    // Nobody's git says so.
    fs::set_permissions(pushed.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args([
            &format!("--reuid={NOBODY}"),
            "--clear-groups",
            "git",
            "ls-remote",
        ])
        .arg(pushed.url("hello"))
        .current_dir("/")
        .env("HOME", "/nonexistent");
    let refused = said(&mut command);
    assert!(!refused.ok);
    has(&refused.text, "only the user of `fermata up`");
}

/// The port that the function which takes pushes has on this machine.
async fn own_port(pushed: &Pushed) -> u16 {
    use k8s_openapi::api::core::v1::Pod;
    use kube::{Api, api::ListParams};
    let client = pushed.up.platform().client().await;
    let pods = Api::<Pod>::namespaced(client, "fermata-system");
    let pods = pods.list(&ListParams::default()).await.unwrap();
    let pod = pods.items.first().expect("it runs");
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let port = container.ports.as_ref().unwrap()[0].container_port;
    port.try_into().unwrap()
}
