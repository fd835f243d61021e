//! `git push` to `fermata up`, with the real git.

mod broken;
mod lfs;
mod who;

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use fermata_tests::{Up, eventually, fermata};
use tempfile::TempDir;

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

    // The other branch that is deployed: what ran before is of this one.
    let master = pushed.git(&["push", &pushed.url("hello"), "HEAD:master"]);
    assert!(!master.ok, "{}", master.text);
    has(&master.text, &format!("hello stays at {}", good.trim()));
    assert_eq!(pushed.call("hello").await, "good");
    let head = pushed.ok(&["ls-remote", "--symref", &pushed.url("hello"), "HEAD"]);
    has(&head, "refs/heads/main");

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
