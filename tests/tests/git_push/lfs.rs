//! Repositories of which Git LFS keeps a part elsewhere.

use std::process::Command;

use fermata_tests::{git_lfs, has_git_lfs, pointer};

use super::{Pushed, git, has, python, said};

const HANDLER: &str = "from pathlib import Path\n\n\ndef handle(request):\n    return Path('model.bin').read_text()\n";

#[tokio::test]
async fn a_push_of_pointers_is_refused_by_name_and_a_file_that_looks_like_one_is_taken() {
    let pushed = Pushed::new();
    let pointer = pointer(&"0".repeat(64), 12345);
    pushed.write("main.py", HANDLER);
    pushed.write("model.bin", &pointer);
    pushed.pushed("shop");
    assert_eq!(pushed.call("shop").await, pointer);

    pushed.write(
        ".gitattributes",
        "*.bin filter=lfs diff=lfs merge=lfs -text\n",
    );
    let text = pushed.refused("shop");
    for part in [
        "Git LFS keeps what belongs to model.bin",
        "source.git of a manifest",
        "git lfs untrack",
    ] {
        has(&text, part);
    }
    // What runs goes on, and what is not deployed may be a pointer.
    assert_eq!(pushed.call("shop").await, pointer);
    pushed.write("main.py", python("without"));
    pushed.write(".fermataignore", "*.bin\n");
    pushed.pushed("shop");
    assert_eq!(pushed.call("shop").await, "without");
}

/// git that finds git-lfs.
fn git_with_lfs(pushed: &Pushed) -> Command {
    let mut git = git(&pushed.work());
    let mut folders: Vec<_> = git_lfs().into_iter().collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    git.env("PATH", std::env::join_paths(folders).unwrap());
    git
}

#[tokio::test]
async fn git_lfs_shows_why_nothing_is_kept_here() {
    if !has_git_lfs() {
        return;
    }
    let pushed = Pushed::new();
    let git = |arguments: &[&str]| said(git_with_lfs(&pushed).args(arguments));
    for arguments in [
        &["lfs", "install", "--local"][..],
        &["lfs", "track", "*.bin"],
    ] {
        let told = git(arguments);
        assert!(told.ok, "{}", told.text);
    }
    pushed.write("main.py", HANDLER);
    pushed.write("model.bin", "a model");
    let message = "--message=change";
    for arguments in [&["add", "--all"][..], &["commit", "--quiet", message]] {
        let told = git(arguments);
        assert!(told.ok, "{}", told.text);
    }
    let told = git(&["push", &pushed.url("shop"), "HEAD:main"]);
    assert!(!told.ok, "{}", told.text);
    has(&told.text, "a push brings nothing that Git LFS keeps");
    has(&told.text, "source.git");
}
