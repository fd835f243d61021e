//! Pushes that are broken off, by either end.

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Stdio,
};

use fermata_tests::{Up, eventually};

use super::{Kill, Pushed, git, has, python};

/// More than may work for one namespace at once.
const MANY: usize = 12;

/// As many may.
const PLACES: usize = 8;

/// The processes of git that take pushes to repositories of this test, one for each.
fn at_work(dir: &Path) -> Vec<PathBuf> {
    let own = dir.to_string_lossy().into_owned();
    let processes = fs::read_dir("/proc").unwrap();
    let paths = processes.map(|process| process.unwrap().path());
    paths
        .filter(|path| {
            let read = |name: &str| {
                let bytes = fs::read(path.join(name)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            read("cmdline").contains("receive-pack") && read("environ").contains(&own)
        })
        .collect()
}

#[tokio::test]
async fn a_push_that_ends_early_gives_its_place_back() {
    let pushed = Pushed::new();
    pushed.write("main.py", python("one"));
    pushed.pushed("hello");
    let streams: Vec<TcpStream> = (0..MANY)
        .map(|number| {
            let mut stream = TcpStream::connect(pushed.gateway()).unwrap();
            let body = if number % 2 == 0 { "00" } else { "" };
            write!(
                stream,
                "POST /git/hello.git/git-receive-pack HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-git-receive-pack-request\r\nContent-Length: 1000\r\n\r\n{body}"
            )
            .unwrap();
            stream
        })
        .collect();
    // Git waits for the rest in each of them, and one that keeps its place would be missed.
    eventually("all places are taken", async || {
        let found = at_work(pushed.dir.path());
        (found.len() >= PLACES)
            .then_some(())
            .ok_or(format!("{found:?}"))
    })
    .await;
    drop(streams);
    eventually("nothing works on it any more", async || {
        let found = at_work(pushed.dir.path());
        found.is_empty().then_some(()).ok_or(format!("{found:?}"))
    })
    .await;
    pushed.write("main.py", python("two"));
    pushed.commit();
    eventually("it is pushed", async || {
        let said = pushed.git(&["push", &pushed.url("hello"), "HEAD:main"]);
        said.ok.then_some(()).ok_or(said.text)
    })
    .await;
    assert_eq!(pushed.call("hello").await, "two");
}

#[tokio::test]
async fn what_cannot_be_applied_again_now_is_not_given_up() {
    let pushed = Pushed::new();
    pushed.write("main.py", python("one"));
    pushed.pushed("hello");
    let url = pushed.url("hello");
    let branch = || pushed.ok(&["ls-remote", &url, "main"]);
    let before = branch();
    let root = pushed.dir.path().join("data/git");
    let repository = root.join("default/hello.git");
    eventually("the push is over", async || {
        let is_noted = repository.join("fermata.pushing").exists();
        (!is_noted).then_some(()).ok_or_else(String::new)
    })
    .await;
    // A push of another commit that was killed, and no place for the files of what ran before it.
    let other = "1".repeat(40);
    let note = format!("{other} refs/heads/main refs/heads/main\n");
    fs::write(repository.join("fermata.pushing"), note).unwrap();
    let checkouts = root.join(".checkouts");
    let _ = fs::remove_dir_all(&checkouts);
    fs::write(&checkouts, "").unwrap();
    pushed.write("main.py", python("two"));
    let refused = pushed.refused("hello");
    has(&refused, "cannot be applied again now");
    has(&refused, "fermata delete hello");
    assert_eq!(branch(), before);
    assert!(repository.join("fermata.pushing").exists());
    fs::remove_file(&checkouts).unwrap();
    eventually("it is pushed", async || {
        let said = pushed.git(&["push", &url, "HEAD:main"]);
        said.ok.then_some(()).ok_or(said.text)
    })
    .await;
    assert_eq!(pushed.call("hello").await, "two");
}

#[tokio::test]
async fn what_the_api_server_refuses_is_taken_back() {
    let pushed = Pushed::new();
    pushed.write("main.py", python("one"));
    pushed.pushed("hello");
    let url = pushed.url("hello");
    // Stored by git alone, as if the API server had taken it once.
    let manifest = "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {}\nspec: {source: {runtime: python}}\nunknown: field\n";
    pushed.write("function.yaml", manifest);
    pushed.commit();
    pushed.ok(&["push", &url, "HEAD:topic"]);
    let ran = pushed.ok(&["rev-parse", "HEAD"]);
    let repository = pushed.dir.path().join("data/git/default/hello.git");
    eventually("the pushes are over", async || {
        let is_noted = repository.join("fermata.pushing").exists();
        (!is_noted).then_some(()).ok_or_else(String::new)
    })
    .await;
    fs::write(repository.join("refs/heads/main"), ran).unwrap();
    let note = format!("{} refs/heads/main refs/heads/main\n", "1".repeat(40));
    fs::write(repository.join("fermata.pushing"), note).unwrap();
    pushed.ok(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let refused = pushed.refused("hello");
    has(&refused, "unknown");
    has(&refused, "push once more, also the same commit");
    pushed.pushed("hello");
    assert_eq!(pushed.call("hello").await, "one");
}

#[tokio::test]
async fn a_push_that_is_killed_in_the_middle_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path(), [] as [&str; 0]);
    let mut pushed = Pushed { up, dir };
    fs::create_dir(pushed.work()).unwrap();
    pushed.ok(&["init", "--quiet", "--initial-branch=main"]);
    pushed.write("main.py", python("old"));
    // What is applied again is brought to the platform anew, which takes it when it has started.
    pushed.write("data.bin", vec![7; 5 << 20]);
    pushed.pushed("hello");
    let applied = |pushed: &Pushed| {
        let listed = pushed.fermata(&["list", "-o", "json"]);
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap_or_default();
        listed["items"][0]["spec"]["source"]["git"]["ref"].clone()
    };
    let old = applied(&pushed);
    assert!(old.is_string(), "{old}");

    let begun = pushed.dir.path().join("begun");
    pushed.write(
        "main.py",
        format!("import time\nopen({begun:?}, 'w').close()\ntime.sleep(3600)\n"),
    );
    pushed.commit();
    let push = Kill(
        git(&pushed.work())
            .args(["push", &pushed.url("hello"), "HEAD:main"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    eventually("the new one starts", async || {
        begun.exists().then_some(()).ok_or_else(String::new)
    })
    .await;
    let repository = pushed.dir.path().join("data/git/default/hello.git");
    let objects = repository.join("objects");
    let incoming = || {
        let entries = fs::read_dir(&objects).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_string_lossy().starts_with("tmp_"))
            .count()
    };
    assert!(incoming() > 0);
    assert_ne!(applied(&pushed), old);
    pushed.up.kill();
    drop(push);
    fs::write(repository.join("refs/heads/main.lock"), "").unwrap();
    pushed.up = Up::start(pushed.dir.path(), [] as [&str; 0]);

    // What the branch says is what is applied, before anybody pushes.
    eventually("the old one is applied", async || {
        let (applied, printed) = (applied(&pushed), pushed.up.printed());
        (applied == old)
            .then_some(())
            .ok_or_else(|| format!("{applied} is not {old}\n{printed}"))
    })
    .await;
    assert_eq!(incoming(), 0, "{}", pushed.up.printed());
    // Until the server knows the gateway's new port it gives and takes nothing.
    eventually("the old one answers", async || {
        let answer = pushed.call("hello").await;
        (answer == "old").then_some(()).ok_or(answer)
    })
    .await;
    pushed.ok(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let text = eventually("the server has started anew", async || {
        let said = pushed.git(&["push", &pushed.url("hello"), "HEAD:main"]);
        if said.ok {
            Ok(said.text)
        } else {
            Err(said.text)
        }
    })
    .await;
    has(&text, "Everything up-to-date");
    pushed.write("main.py", python("new"));
    pushed.pushed("hello");
    assert_eq!(pushed.call("hello").await, "new");
    eventually("nothing is noted any more", async || {
        let is_noted = repository.join("fermata.pushing").exists();
        (!is_noted).then_some(()).ok_or_else(String::new)
    })
    .await;
}
