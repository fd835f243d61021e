//! Pushes that hold more than a manifest does.

use super::*;

#[tokio::test]
async fn a_push_may_hold_more_than_a_manifest() {
    let world = World::new(false);
    let git = |arguments: &[&str]| said(&git(&world.folder()).args(arguments).output().unwrap());
    fs::remove_file(world.folder().join(".gitattributes")).unwrap();
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &["commit", "--quiet", "--message=first"],
    ] {
        let (ok, printed) = git(arguments);
        assert!(ok, "{printed}");
    }
    let gateway = world.up.platform().gateway;
    let url = format!("http://{gateway}/git/model.git");
    let (ok, printed) = git(&["push", &url, "HEAD:main"]);
    assert!(ok, "{printed}\n{}", world.up.printed());
    has(&printed, "remote: model: 5.0 MiB in 7 files stored as ");
    world.answers("model", &answered("one")).await;

    // The one repository is no way into the other.
    let bundles = format!("http://{gateway}/git/model.bundles.git");
    // What was pushed before may still be tidied up.
    let refused = async |reference: &str, says: &str| {
        let printed = eventually("no other push is under way", async || {
            match git(&["push", &bundles, reference]) {
                (_, printed) if printed.contains("under way") => Err(printed),
                ended => Ok(ended),
            }
        })
        .await;
        assert!(!printed.0, "{}", printed.1);
        has(&printed.1, says);
    };
    for reference in ["main", "refs/bundles/main", "refs/tags/v1"] {
        let only = "only bundles are stored here";
        refused(&format!("HEAD:{reference}"), only).await;
    }
    let (ok, printed) = git(&["push", &url, "HEAD:refs/bundles/main"]);
    assert!(!ok, "{printed}");
    has(&printed, "push branches and tags");
    // What has a history, or links, is none.
    std::os::unix::fs::symlink("main.py", world.folder().join("link")).unwrap();
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message=second"]);
    let (_, second) = git(&["rev-parse", "HEAD"]);
    let second = format!("HEAD:refs/bundles/{}", second.trim());
    refused(&second, "a bundle has none").await;
    let stored = world.bundles("model");
    refused(&format!(":{}", stored[0]), "only bundles are stored here").await;
    assert_eq!(world.bundles("model").len(), 1);
    world.answers("model", &answered("one")).await;
}

/// As many as may work for one namespace, each of which waits for an instance that fetches what it has brought.
#[tokio::test]
async fn pushes_with_bundles_at_once_do_not_wait_for_each_other() {
    let world = World::new(false);
    let gateway = world.up.platform().gateway;
    let folders: Vec<_> = (0..8)
        .map(|number| {
            let name = format!("at-once-{number}");
            let folder = world.dir.path().join(&name);
            let main = format!("def handle(request):\n    return '{name}'\n");
            write(&folder, "main.py", main);
            write(&folder, "data.bin", noise((1 << 20) + number));
            for arguments in [
                &["init", "--quiet", "--initial-branch=main"][..],
                &["add", "--all"],
                &["commit", "--quiet", "--message=first"],
            ] {
                let (ok, printed) = said(&git(&folder).args(arguments).output().unwrap());
                assert!(ok, "{printed}");
            }
            (name, folder)
        })
        .collect();
    // All have their places before the first one fetches.
    let pushes = folders.into_iter().map(|(name, folder)| {
        let push = git(&folder)
            .args(["push", &format!("http://{gateway}/git/{name}.git")])
            .arg("HEAD:main")
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        (name, push)
    });
    let pushes: Vec<_> = pushes.collect();
    for (name, push) in pushes {
        let (ok, printed) = said(&push.wait_with_output().unwrap());
        assert!(ok, "{name}: {printed}\n{}", world.up.printed());
        has(&printed, "stored as ");
        world.answers(&name, &name).await;
    }
}
