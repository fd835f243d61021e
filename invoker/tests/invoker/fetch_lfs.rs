//! Fetches of repositories some of whose files Git LFS keeps.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use crate::{
    fetch::{Job, server},
    git_server::{LOGIN, git_lfs, has_git_lfs, pointer},
};

/// The digest of what nobody keeps.
const NOWHERE: &str = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";

const ATTRIBUTES: (&str, &str) = (
    ".gitattributes",
    "*.bin filter=lfs diff=lfs merge=lfs -text\n",
);

/// The job with git-lfs on `PATH`.
fn with_lfs(job: Job) -> Job {
    let Some(folder) = git_lfs() else { return job };
    let own = std::env::var("PATH").unwrap_or_default();
    job.variable("PATH", &format!("{}:{own}", folder.display()))
}

/// The job with git on `PATH` and nothing else.
fn without_lfs(job: Job) -> Job {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    let git = folders.find_map(|folder| fs::canonicalize(folder.join("git")).ok());
    let folder = job.target().with_file_name("programs");
    fs::create_dir(&folder).unwrap();
    symlink(git.expect("the tests need git"), folder.join("git")).unwrap();
    job.variable("PATH", folder.to_str().unwrap())
}

#[test]
fn without_git_lfs_what_it_keeps_is_refused_by_name() {
    let server = server();
    let pointer = pointer(NOWHERE, 12345);
    let files = [
        ATTRIBUTES,
        ("data/model.bin", &pointer),
        ("functions/orders/main.py", "x"),
    ];
    let commit = server.commit("shop", &files);
    let job = without_lfs(Job::new(&server.url("shop")).commit(&commit));
    let outcome = job.run();
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    for part in [
        "1 of the files",
        "data/model.bin",
        "no git-lfs on PATH",
        "git lfs pull",
    ] {
        assert!(outcome.last().contains(part), "{}", outcome.stderr);
    }
    assert_eq!(fs::read_dir(job.target()).unwrap().count(), 0);
    let beside = without_lfs(Job::new(&server.url("shop")).commit(&commit));
    beside.path("functions/orders").succeed();
}

#[test]
fn without_git_lfs_files_are_named_as_the_repository_has_them() {
    let server = server();
    let pointer = pointer(NOWHERE, 12345);
    let models = server.commit("models", &[("small.bin", &pointer), ("README", "x")]);
    let modules = "[submodule \"m\"]\n\tpath = f/models\n\turl = ../models\n";
    let files = [(".gitmodules", modules), ("f/data/large.bin", &pointer)];
    server.commit("shop", &files);
    let entry = format!("160000,{models},f/models");
    server.git("shop", &["update-index", "--add", "--cacheinfo", &entry]);
    server.git("shop", &["commit", "--quiet", "--message=x"]);
    let head = server.git("shop", &["rev-parse", "HEAD"]);
    for path in ["f", ""] {
        let job = without_lfs(Job::new(&server.url("shop")).commit(&head).path(path));
        let outcome = job.run();
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        let named = "2 of the files hold (f/data/large.bin, f/models/small.bin)";
        assert!(outcome.last().contains(named), "{}", outcome.stderr);
        assert_eq!(fs::read_dir(job.target()).unwrap().count(), 0);
    }
}

#[test]
fn a_pointer_that_cannot_be_read_is_told() {
    let server = server();
    let broken = pointer("../../etc/passwd", 1);
    let commit = server.commit("shop", &[("a.bin", &broken)]);
    let outcome = Job::new(&server.url("shop")).commit(&commit).run();
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let said = "a.bin is a pointer of Git LFS that cannot be read";
    assert!(outcome.last().contains(said), "{}", outcome.stderr);
}

#[test]
fn what_it_keeps_is_there_in_submodules_too() {
    if !has_git_lfs() {
        return;
    }
    let server = server();
    let (large, tool, small) = (
        server.keep(&"large\n".repeat(20_000)),
        server.keep("#!/bin/sh\n"),
        server.keep("small\n"),
    );
    let models = server.commit("models", &[ATTRIBUTES, ("small.bin", &small)]);
    let modules = "[submodule \"m\"]\n\tpath = models\n\turl = ../models\n";
    let files = [
        ATTRIBUTES,
        (".gitmodules", modules),
        ("main.py", "x = 1\n"),
        ("data/a, b [1].bin", &large),
        ("bin/tool.bin", &tool),
        ("copy.bin", &small),
    ];
    server.commit("shop", &files);
    server.git("shop", &["update-index", "--chmod=+x", "bin/tool.bin"]);
    let entry = format!("160000,{models},models");
    server.git("shop", &["update-index", "--add", "--cacheinfo", &entry]);
    server.git("shop", &["commit", "--quiet", "--message=x"]);
    let head = server.git("shop", &["rev-parse", "HEAD"]);
    let job = with_lfs(Job::new(&server.url("shop")).commit(&head));
    job.succeed();
    let large = job.read("data/a, b [1].bin").map(|text| text.len());
    assert_eq!(large, Some(120_000));
    for name in ["copy.bin", "models/small.bin"] {
        assert_eq!(job.read(name).as_deref(), Some("small\n"), "{name}");
    }
    assert_eq!(job.read("main.py").as_deref(), Some("x = 1\n"));
    let tool = fs::metadata(job.target().join("bin/tool.bin")).unwrap();
    assert_eq!(tool.permissions().mode() & 0o111, 0o111);

    // What is beside a function is not asked for.
    let gone = pointer(NOWHERE, 5);
    let files = [("f/own.bin", &*small), ("other/gone.bin", &gone)];
    let head = server.commit("shop", &files);
    let job = with_lfs(Job::new(&server.url("shop")).commit(&head).path("f"));
    job.succeed();
    assert_eq!(job.read("own.bin").as_deref(), Some("small\n"));
}

#[test]
fn it_is_asked_with_the_credentials_of_the_repository_which_nobody_is_told() {
    if !has_git_lfs() {
        return;
    }
    let server = server();
    let small = server.keep("small\n");
    let commit = server.commit("private/shop", &[ATTRIBUTES, ("a.bin", &small)]);
    let (user, password) = LOGIN;
    let job = with_lfs(Job::new(&server.url("private/shop")).commit(&commit))
        .secret("username", user)
        .secret("password", password);
    let outcome = job.succeed();
    assert_eq!(job.read("a.bin").as_deref(), Some("small\n"));
    let said = outcome.stdout + &outcome.stderr;
    assert!(!said.contains("pass word"), "{said}");

    // It may be kept elsewhere, where others may be asked for.
    let config = format!("[lfs]\n\turl = {}/info/lfs\n", server.url("private/shop"));
    let files = [ATTRIBUTES, ("a.bin", &small), (".lfsconfig", &config)];
    let commit = server.commit("open", &files);
    let outcome = with_lfs(Job::new(&server.url("open")).commit(&commit)).run();
    assert_eq!(outcome.code, Some(77), "{}", outcome.stderr);
}

#[test]
fn what_it_does_not_have_is_told_and_nothing_but_servers_is_asked() {
    if !has_git_lfs() {
        return;
    }
    let server = server();
    let gone = pointer(NOWHERE, 12345);
    let commit = server.commit("gone", &[ATTRIBUTES, ("a.bin", &gone)]);
    let run = |repository: &str, commit: &str| {
        let job = with_lfs(Job::new(&server.url(repository)).commit(commit));
        let outcome = job.run();
        let last = outcome.last().to_owned();
        (outcome.code, last)
    };
    let (code, last) = run("gone", &commit);
    assert_eq!(code, Some(1), "{last}");
    assert!(last.contains("git lfs push --all"), "{last}");

    let large = pointer(NOWHERE, 200 << 20);
    let commit = server.commit("large", &[ATTRIBUTES, ("a.bin", &large)]);
    let (code, last) = run("large", &commit);
    assert_eq!(code, Some(1), "{last}");
    assert!(last.contains("more than 100.0 MiB"), "{last}");

    let small = server.keep("small\n");
    for url in ["file:///etc", "ssh://git@127.0.0.1/x", "/etc", "ext::sh"] {
        let config = format!("[lfs]\n\turl = {url}\n");
        let files = [ATTRIBUTES, ("a.bin", &*small), (".lfsconfig", &config)];
        let commit = server.commit("elsewhere", &files);
        let (code, last) = run("elsewhere", &commit);
        assert_eq!(code, Some(1), "{last}");
        assert!(last.contains("lfs.url in .lfsconfig is"), "{last}");
    }
    // Its other settings have no effect, and neither have programs that are named there.
    let config = "[lfs]\n\tfetchexclude = *\n\tstandalonetransferagent = x\n[lfs \"customtransfer.x\"]\n\tpath = false\n[remote \"origin\"]\n\tlfsurl = file:///etc\n";
    let files = [ATTRIBUTES, ("a.bin", &*small), (".lfsconfig", config)];
    let commit = server.commit("settings", &files);
    let job = with_lfs(Job::new(&server.url("settings")).commit(&commit));
    job.succeed();
    assert_eq!(job.read("a.bin").as_deref(), Some("small\n"));
}
