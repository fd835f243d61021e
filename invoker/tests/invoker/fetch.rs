//! Fetches: the files of a commit, and nothing else that a repository may hold.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::git_server::{GitServer, LOGIN, pointer};

/// A fetch to be run.
pub(crate) struct Job {
    home: TempDir,
    variables: Vec<(String, String)>,
}

pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn server() -> GitServer {
    GitServer::start([127, 0, 0, 1].into())
}

// === impl Job ===

impl Job {
    pub(crate) fn new(url: &str) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        fs::create_dir(home.path().join("tmp")).expect("a directory");
        let job = Self {
            home,
            variables: Vec::new(),
        };
        job.variable("FERMATA_GIT_URL", url)
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn reference(self, reference: &str) -> Self {
        self.variable("FERMATA_GIT_REF", reference)
    }

    pub(crate) fn commit(self, commit: &str) -> Self {
        self.variable("FERMATA_GIT_COMMIT", commit)
    }

    pub(crate) fn path(self, path: &str) -> Self {
        self.variable("FERMATA_GIT_PATH", path)
    }

    /// A key of the Secret.
    pub(crate) fn secret(self, key: &str, value: &str) -> Self {
        let folder = self.home.path().join("credentials");
        fs::create_dir_all(&folder).expect("a directory");
        fs::write(folder.join(key), value).expect("a file");
        self
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.home.path().join("function")
    }

    pub(crate) fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.target().join(path)).ok()
    }

    pub(crate) fn run_with(&self, arguments: &[&str]) -> Outcome {
        let output = Command::new(env!("CARGO_BIN_EXE_fermata-invoker"))
            .arg("fetch")
            .args(arguments)
            .env("FERMATA_ROOT", self.home.path())
            .env("FERMATA_TARGET", "/function")
            .env("TMPDIR", self.home.path().join("tmp"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .expect("an output");
        let left = fs::read_dir(self.home.path().join("tmp")).expect("a directory");
        assert_eq!(left.count(), 0, "temporary files are left");
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(crate) fn run(&self) -> Outcome {
        self.run_with(&[])
    }

    pub(crate) fn look(&self) -> Outcome {
        self.run_with(&["--look"])
    }

    pub(crate) fn succeed(&self) -> Outcome {
        let outcome = self.run();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        outcome
    }
}

// === impl Outcome ===

impl Outcome {
    pub(crate) fn last(&self) -> &str {
        self.stderr.lines().last().unwrap_or_default()
    }
}

#[test]
fn the_files_of_a_commit_are_there_and_nothing_of_git() {
    let server = server();
    let first = server.commit(
        "shop",
        &[
            ("main.py", "1"),
            ("lib/a b.py", "x"),
            (".gitattributes", "*.py filter=lfs\n"),
        ],
    );
    let second = server.commit("shop", &[("main.py", "2")]);
    let job = Job::new(&server.url("shop")).commit(&first);
    job.succeed();
    assert_eq!(job.read("main.py").as_deref(), Some("1"));
    assert_eq!(job.read("lib/a b.py").as_deref(), Some("x"));
    assert!(!job.target().join(".git").exists());

    // What an earlier try has left is gone.
    fs::write(job.target().join("old"), "").unwrap();
    let again = Job {
        variables: Vec::new(),
        ..job
    }
    .variable("FERMATA_GIT_URL", &server.url("shop"));
    let again = again.commit(&second);
    again.succeed();
    assert_eq!(again.read("main.py").as_deref(), Some("2"));
    assert!(!again.target().join("old").exists());
}

#[test]
fn a_folder_of_the_repository_is_all_there_is() {
    let server = server();
    let commit = server.commit(
        "shop",
        &[
            ("README", ""),
            ("functions/orders/main.py", "x"),
            ("functions/orders/lib/a.py", ""),
        ],
    );
    let job = Job::new(&server.url("shop")).commit(&commit);
    let job = job.path("functions/orders");
    job.succeed();
    assert_eq!(job.read("main.py").as_deref(), Some("x"));
    assert!(job.target().join("lib/a.py").exists());
    assert!(!job.target().join("README").exists());

    for path in ["nothing", "README"] {
        let job = Job::new(&server.url("shop")).commit(&commit).path(path);
        let outcome = job.run();
        assert_eq!(outcome.code, Some(66), "{}", outcome.stderr);
        assert!(
            outcome.last().contains("there is no folder"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn a_look_finds_branches_tags_and_the_default_branch() {
    let server = server();
    let first = server.commit("shop", &[("main.py", "1")]);
    server.git("shop", &["tag", "--annotate", "--message=x", "v1"]);
    let second = server.commit("shop", &[("main.py", "2")]);
    server.git("shop", &["branch", "v2/next"]);
    for (reference, commit) in [
        ("HEAD", &second),
        ("main", &second),
        ("refs/heads/main", &second),
        ("v2/next", &second),
        ("v1", &first),
        ("refs/tags/v1", &first),
    ] {
        let job = Job::new(&server.url("shop")).reference(reference);
        let outcome = job.look();
        assert_eq!(outcome.code, Some(0), "{reference}: {}", outcome.stderr);
        assert_eq!(outcome.stdout.trim(), commit, "{reference}");
        let told = fs::read_to_string(job.home.path().join("dev/termination-log"));
        assert_eq!(&told.unwrap(), commit);
    }
    let outcome = Job::new(&server.url("shop")).reference("next").look();
    assert_eq!(outcome.code, Some(66));
    assert!(
        outcome.last().contains("no branch and no tag named next"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_failure_says_whether_another_try_helps() {
    let mut server = server();
    let commit = server.commit("shop", &[("main.py", "1")]);
    let missing = Job::new(&server.url("nothing")).look();
    assert_eq!(missing.code, Some(66), "{}", missing.stderr);
    let gone = Job::new(&server.url("shop")).commit(&"1".repeat(40)).run();
    assert_eq!(gone.code, Some(66), "{}", gone.stderr);
    assert!(gone.last().contains("is not in"), "{}", gone.stderr);
    server.pause();
    for outcome in [
        Job::new(&server.url("shop")).look(),
        Job::new(&server.url("shop")).commit(&commit).run(),
    ] {
        assert_eq!(outcome.code, Some(75), "{}", outcome.stderr);
    }
    server.resume();
    Job::new(&server.url("shop")).commit(&commit).succeed();
}

#[test]
fn a_private_repository_wants_the_password_and_it_is_told_nobody() {
    let server = server();
    let commit = server.commit("private/shop", &[("main.py", "1")]);
    let job = || Job::new(&server.url("private/shop")).commit(&commit);
    let (user, password) = LOGIN;
    let without = job().look();
    assert_eq!(without.code, Some(77), "{}", without.stderr);
    assert!(without.last().contains("secretName"), "{}", without.stderr);
    let wrong = job()
        .secret("username", user)
        .secret("password", "wrong-word")
        .run();
    assert_eq!(wrong.code, Some(77), "{}", wrong.stderr);
    assert!(!wrong.stderr.contains("wrong-word"), "{}", wrong.stderr);
    let empty = job().secret("other", "").look();
    assert_eq!(empty.code, Some(1), "{}", empty.stderr);
    assert!(empty.last().contains("has none of"), "{}", empty.stderr);

    let right = job()
        .secret("username", user)
        .secret("password", &format!("{password}\n"));
    assert_eq!(right.look().code, Some(0));
    let outcome = right.succeed();
    assert!(!outcome.stderr.contains(password), "{}", outcome.stderr);
    assert_eq!(right.read("main.py").as_deref(), Some("1"));
    let token = job().secret("username", user).secret("token", password);
    token.succeed();
}

#[test]
fn a_password_goes_to_no_other_host() {
    let (own, other) = (server(), server());
    let commit = other.commit("private/lib", &[("a.py", "1")]);
    own.commit(
        "private/shop",
        &[(
            ".gitmodules",
            &format!(
                "[submodule \"lib\"]\n\tpath = lib\n\turl = {}\n",
                other.url("private/lib")
            ),
        )],
    );
    let entry = format!("160000,{commit},lib");
    own.git(
        "private/shop",
        &["update-index", "--add", "--cacheinfo", &entry],
    );
    own.git("private/shop", &["commit", "--quiet", "--message=x"]);
    let head = own.git("private/shop", &["rev-parse", "HEAD"]);
    let job = Job::new(&own.url("private/shop")).commit(&head);
    let job = job.secret("username", LOGIN.0).secret("password", LOGIN.1);
    let outcome = job.run();
    assert_eq!(outcome.code, Some(77), "{}", outcome.stderr);
}

#[test]
fn submodules_are_fetched_where_their_repository_says() {
    let server = server();
    let inner = server.commit("inner", &[("deep.py", "d")]);
    let add = |repository: &str, path: &str, url: &str, commit: &str| {
        server.commit(
            repository,
            &[(
                ".gitmodules",
                &format!("[submodule \"x\"]\n\tpath = {path}\n\turl = {url}\n"),
            )],
        );
        let entry = format!("160000,{commit},{path}");
        server.git(
            repository,
            &["update-index", "--add", "--cacheinfo", &entry],
        );
        server.git(repository, &["commit", "--quiet", "--message=x"]);
        server.git(repository, &["rev-parse", "HEAD"])
    };
    let lib = add("lib", "inner", &server.url("inner"), &inner);
    server.commit("shop", &[("f/main.py", "1")]);
    let head = add("shop", "f/lib", "../lib", &lib);
    let job = Job::new(&server.url("shop")).commit(&head).path("f");
    job.succeed();
    assert_eq!(job.read("main.py").as_deref(), Some("1"));
    assert_eq!(job.read("lib/inner/deep.py").as_deref(), Some("d"));

    for url in ["/etc", "file:///etc", "ext::sh -c true"] {
        let head = add("bad", "lib", url, &lib);
        let outcome = Job::new(&server.url("bad")).commit(&head).run();
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        assert!(
            outcome.last().contains("no address of a repository"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn links_stay_inside() {
    let server = server();
    server.commit("shop", &[("a/x", "1")]);
    server.link("shop", "a/inside", "x");
    let inside = server.commit("shop", &[("run.sh", "#!/bin/sh\n")]);
    server.git("shop", &["update-index", "--chmod=+x", "run.sh"]);
    server.git("shop", &["commit", "--quiet", "--message=x"]);
    let executable = server.git("shop", &["rev-parse", "HEAD"]);
    server.link("shop", "a/outside", "../../etc/passwd");
    let outside = server.commit("shop", &[]);
    let job = Job::new(&server.url("shop")).commit(&inside);
    job.succeed();
    assert_eq!(job.read("a/inside").as_deref(), Some("1"));
    let job = Job::new(&server.url("shop")).commit(&executable);
    job.succeed();
    let mode = fs::metadata(job.target().join("run.sh"))
        .unwrap()
        .permissions();
    assert_ne!(mode.mode() & 0o100, 0);
    let job = Job::new(&server.url("shop")).commit(&outside);
    let outcome = job.run();
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.last().contains("a/outside"), "{}", outcome.stderr);
    assert_eq!(fs::read_dir(job.target()).unwrap().count(), 0);
}

#[test]
fn what_is_no_other_machine_is_refused() {
    for url in [
        "/etc",
        "file:///etc",
        "ext::sh -c true",
        "-x",
        "git://127.0.0.1/a",
    ] {
        let outcome = Job::new(url).look();
        assert_eq!(outcome.code, Some(1), "{url}: {}", outcome.stderr);
    }
    let ssh = Job::new("git@127.0.0.1:a")
        .secret("ssh-privatekey", "k")
        .look();
    assert!(ssh.last().contains("known_hosts"), "{}", ssh.stderr);
}

#[test]
fn too_much_is_refused() {
    let server = server();
    let large = "x".repeat(60 << 20);
    let commit = server.commit("shop", &[("a", &large), ("b", &large)]);
    let outcome = Job::new(&server.url("shop")).commit(&commit).run();
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(
        outcome.last().contains("more than 100.0 MiB"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_folder_that_was_deployed_is_there_as_it_was() {
    let server = server();
    let text = "$Id$\na\n";
    let model = pointer(&"4".repeat(64), 12345);
    let files = [("data/model.bin", &*model), ("data/text.txt", text)];
    server.commit("shop", &files);
    let attributes = [(".gitattributes", "* text eol=crlf ident filter=lfs\n")];
    let commit = server.commit("shop", &attributes);
    let job = Job::new(&server.url("shop")).commit(&commit);
    let job = job.variable("FERMATA_GIT_VERBATIM", "1");
    job.succeed();
    assert_eq!(job.read("data/model.bin").as_deref(), Some(&*model));
    assert_eq!(job.read("data/text.txt").as_deref(), Some(text));
}
