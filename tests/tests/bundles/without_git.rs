//! Machines without git.

use super::*;

#[tokio::test]
async fn without_git_it_is_said_what_is_missing() {
    let world = World::new(false);
    let empty = world.dir.path().join("no-programs");
    fs::create_dir(&empty).unwrap();
    let output = Command::new(fermata_bin())
        .arg("--kubeconfig")
        .arg(world.kubeconfig())
        .args(["deploy", "-f"])
        .arg(world.folder())
        .env("PATH", &empty)
        .output()
        .unwrap();
    let (ok, printed) = said(&output);
    assert!(!ok, "{printed}");
    has(&printed, "there is no git on PATH");
    has(&printed, ".fermataignore");
}

#[tokio::test]
async fn without_git_what_needs_none_runs_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    write_function(&dir.path().join("all/model"), "one");
    let small = dir.path().join("all/small");
    let manifest = "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {name: small}\n\
        spec: {source: {runtime: command, handler: sh main.sh}}\n";
    write(&small, "function.yaml", manifest);
    write(&small, "main.sh", "echo small\n");
    let programs = dir.path().join("programs");
    fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink("/bin/sh", programs.join("sh")).unwrap();
    let arguments = ["--ephemeral", "-f", "all"];
    let up = Up::try_start_with(dir.path(), &arguments, programs.as_os_str());
    let up = up.unwrap_or_else(|printed| panic!("{printed}"));
    eventually("what needs no git answers", async || {
        match up.platform().gateway().get("/function/small").await.text() {
            text if text == "small\n" => Ok(()),
            text => Err(format!("{text}\n{}", up.printed())),
        }
    })
    .await;
    let printed = up.printed();
    has(&printed, "function/model in all/model/function.yaml");
    has(&printed, "there is no git on PATH; install it");
}
