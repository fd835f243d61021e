//! What is too much, or has no place to go, and how that is told.

use super::*;

#[tokio::test]
async fn what_is_too_much_is_refused_by_name() {
    let world = World::new(false);
    let folder = world.folder();
    let deploy = ["deploy", "-f", folder.to_str().unwrap()];
    let large = fs::File::create(folder.join("data/weights.bin")).unwrap();
    large.set_len(96 * 1024 * 1024).unwrap();
    let (ok, printed) = world.run(&deploy);
    assert!(!ok, "{printed}");
    for part in [
        "has 101.0 MiB in 9 files",
        "the largest: data/weights.bin (96.0 MiB), data/model.bin (5.0 MiB), ",
        "at most 100.0 MiB in 10000 files",
        ".fermataignore",
    ] {
        has(&printed, part);
    }
    fs::remove_file(folder.join("data/weights.bin")).unwrap();
    fs::create_dir(folder.join("many")).unwrap();
    for number in 0..=10_000 {
        fs::write(folder.join(format!("many/{number}")), "").unwrap();
    }
    let (ok, printed) = world.run(&deploy);
    assert!(!ok, "{printed}");
    has(&printed, "or 10000 files in");
    has(&printed, ".fermataignore");

    // Many small ones go.
    for number in 2_100..=10_000 {
        fs::remove_file(folder.join(format!("many/{number}"))).unwrap();
    }
    world.ok(&deploy);
    world.answers("model", &answered("one")).await;
}

#[tokio::test]
async fn a_namespace_that_is_not_there_is_told_and_nothing_is_left_in_it() {
    let world = World::new(false);
    let folder = world.folder();
    let folder = folder.to_str().unwrap();
    for more in [&[][..], &["--dry-run"]] {
        let deploy = ["-n", "nowhere", "deploy", "-f", folder];
        let (deployed, printed) = world.run(&[&deploy[..], more].concat());
        assert!(!deployed, "{printed}");
        has(&printed, "kubectl create namespace nowhere");
    }
    assert!(!world.dir.path().join("data/git/nowhere").exists());
    let small = world.dir.path().join("small");
    write(&small, "main.py", "def handle(request):\n    return 'x'\n");
    write(
        &small,
        "function.yaml",
        "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {name: small}\nspec: {source: {runtime: python}}\n",
    );
    let small_folder = small.to_str().unwrap();
    let (deployed, printed) = world.run(&["-n", "nowhere", "deploy", "-f", small_folder]);
    assert!(!deployed, "{printed}");
    has(&printed, "kubectl create namespace nowhere");

    // A push is told so as well.
    let git = |arguments: &[&str]| {
        let output = git(&small).args(arguments).output().unwrap();
        let (_, printed) = said(&output);
        printed
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message=x"]);
    let gateway = world.up.platform().gateway;
    let url = format!("http://{gateway}/git/nowhere/small.git");
    has(
        &git(&["push", &url, "HEAD:main"]),
        "kubectl create namespace nowhere",
    );
    eventually("what was pushed is gone", async || {
        let folder = world.dir.path().join("data/git/nowhere");
        let left: Vec<_> = fs::read_dir(folder).into_iter().flatten().collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
}

/// Where nothing takes pushes, it is said how large it is and what else there is to do.
#[tokio::test]
async fn a_cluster_that_takes_no_pushes_is_told_with_the_way_out() {
    let world = World::new(false);
    let told = |data: &str| {
        let patch = format!("{{\"data\": {data}}}");
        let arguments = ["-n", "kube-public", "patch", "configmap", "fermata-bundles"];
        let arguments = [&arguments[..], &["--type=merge", "-p", &patch]].concat();
        let patched = kubectl(world.kubeconfig(), &arguments);
        assert!(patched.status.success(), "{patched:?}");
    };
    let folder = world.folder();
    let refused = || {
        let (ok, printed) = world.run(&["deploy", "-f", folder.to_str().unwrap()]);
        assert!(!ok, "{printed}");
        printed
    };
    told("{\"kept\": \"false\"}");
    has(&refused(), "git.push.existingClaim");
    // A user without a token is told of it before anything is made or sent.
    told("{\"kept\": null, \"access\": \"token\", \"url\": \"https://127.0.0.1:9\"}");
    has(&refused(), "FERMATA_TOKEN");
    let secret = kubectl(world.kubeconfig(), &["get", "secret", "model-bundles"]);
    has(&said(&secret).1, "NotFound");
    told("{\"inCluster\": null}");
    let printed = refused();
    for part in [
        "has 5.0 MiB in 8 files (the largest: data/model.bin (5.0 MiB), ",
        "git.push.enabled",
        ".fermataignore",
        "source.git",
        "build an image",
    ] {
        has(&printed, part);
    }
}
