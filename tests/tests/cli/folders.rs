//! Code in folders.

use std::{fs, path::Path};

use fermata_tests::{Space, Up, eventually, kubectl, pointer};

use crate::{ok, run, write_function};

#[tokio::test]
async fn a_folder_of_code_may_hold_more_than_code() {
    let space = Space::new().await;
    let kubeconfig = space.platform.kubeconfig.as_path();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("shop");
    write_function(&folder, "shop", "open");
    fs::write(folder.join("package.json"), "{\"type\": \"module\"}").unwrap();
    fs::write(folder.join("config.yaml"), "limit: 3\n").unwrap();
    let path = folder.to_str().unwrap();
    let deploy = ["deploy", "-n", &space.name, "-f", path];
    ok(kubeconfig, &deploy);
    let files = || {
        let list = ["describe", "shop", "-n", &space.name, "-o", "json"];
        let list: serde_json::Value = serde_json::from_str(&ok(kubeconfig, &list)).unwrap();
        let files = list["items"][0]["spec"]["source"]["files"].as_object();
        files.unwrap().keys().cloned().collect::<Vec<String>>()
    };
    assert_eq!(files(), ["config.yaml", "main.py", "package.json"]);

    // What is no part of the function makes no Revision.
    for leftover in ["main.py~", ".main.py.swp", "README.md", "test_main.py"] {
        fs::write(folder.join(leftover), "x").unwrap();
    }
    fs::create_dir(folder.join("__pycache__")).unwrap();
    fs::write(folder.join("__pycache__/main.pyc"), [0xff, 0]).unwrap();
    ok(kubeconfig, &deploy);
    assert_eq!(files(), ["config.yaml", "main.py", "package.json"]);

    // What cannot be carried is refused by its name.
    fs::create_dir(folder.join("lib")).unwrap();
    fs::write(folder.join("lib/a\\b.py"), "").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", folder.join("host")).unwrap();
    let (deployed, printed) = run(kubeconfig, &deploy);
    assert!(!deployed, "{printed}");
    for part in [
        "lib/a\\b.py (its path has a backslash",
        "host (a link out",
        ".fermataignore",
    ] {
        assert!(printed.contains(part), "{printed}");
    }
    fs::write(folder.join(".fermataignore"), "/lib/a*\nhost\n").unwrap();
    ok(kubeconfig, &deploy);

    // What looks like a secret is carried, and named.
    let certificate = "-----BEGIN CERTIFICATE-----\n";
    fs::write(folder.join("ca.pem"), certificate).unwrap();
    fs::write(folder.join("lib/server.key"), "x").unwrap();
    let printed = ok(kubeconfig, &deploy);
    assert!(
        printed.contains("lib/server.key in") && printed.contains("looks like a secret"),
        "{printed}"
    );
    assert!(!printed.contains("ca.pem"), "{printed}");
    ok(kubeconfig, &["delete", "-n", &space.name, "-f", path]);
}

/// A function with a package, data that is no text, and a link.
fn write_package(folder: &Path) {
    write_function(folder, "stock", "");
    let main = "from pathlib import Path\n\nfrom shop.prices import price\n\n\n\
        def handle(request):\n\
        \x20   logo = Path('data/my logo.png').read_bytes()\n\
        \x20   return f\"{price()} {len(logo)} {Path('link/a.txt').read_text()}\"\n";
    fs::create_dir_all(folder.join("shop/deep")).unwrap();
    fs::create_dir(folder.join("data")).unwrap();
    fs::write(folder.join("main.py"), main).unwrap();
    fs::write(folder.join("shop/__init__.py"), "").unwrap();
    fs::write(
        folder.join("shop/prices.py"),
        "def price():\n    return 1\n",
    )
    .unwrap();
    fs::write(folder.join("shop/deep/a.txt"), "yes").unwrap();
    fs::write(folder.join("data/my logo.png"), [0x89, 0, 0xff]).unwrap();
    std::os::unix::fs::symlink("shop/deep", folder.join("link")).unwrap();
}

#[tokio::test]
async fn packages_and_data_come_along() {
    let space = Space::new().await;
    let kubeconfig = space.platform.kubeconfig.as_path();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("stock");
    write_package(&folder);
    let path = folder.to_str().unwrap();
    let n = ["-n", space.name.as_str()];
    ok(kubeconfig, &[&n[..], &["deploy", "-f", path]].concat());
    assert_eq!(space.call("stock", "").await.ok().text(), "1 3 yes");

    // What is printed instead makes the same function.
    let printed = ok(
        kubeconfig,
        &[&n[..], &["deploy", "--dry-run", "-f", path]].concat(),
    );
    let manifest = dir.path().join("printed.yaml");
    fs::write(&manifest, printed).unwrap();
    let apply = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        manifest.to_str().unwrap(),
    ];
    let applied = kubectl(kubeconfig, &[&n[..], &apply].concat());
    assert!(applied.status.success(), "{applied:?}");
    let function = space.ready("stock").await;
    let status = function.status.unwrap();
    assert_eq!(status.latest_created_revision.unwrap(), "stock-00001");

    // So does the folder without its manifest.
    let arguments = ["deploy", "stock2", "--runtime", "python", path];
    ok(kubeconfig, &[&n[..], &arguments].concat());
    assert_eq!(space.call("stock2", "").await.ok().text(), "1 3 yes");
    let there = ok(
        kubeconfig,
        &[&n[..], &["deploy", "stock2", "--min", "1", "--dry-run"]].concat(),
    );
    assert!(
        there.contains("binaryFiles") && !there.contains("resourceVersion"),
        "{there}"
    );
    ok(kubeconfig, &[&n[..], &["delete", "--all"]].concat());
}

#[tokio::test]
async fn a_change_in_a_folder_below_is_picked_up() {
    let dir = tempfile::tempdir().unwrap();
    write_package(&dir.path().join("stock"));
    let up = Up::start(dir.path(), ["--ephemeral", "-f", "stock"]);
    let answers = async |answer: &str| {
        eventually(answer, async || {
            match up.platform().gateway().get("/function/stock").await.text() {
                text if text == answer => Ok(()),
                text => Err(format!("{text}\n{}", up.printed())),
            }
        })
        .await;
    };
    answers("1 3 yes").await;
    fs::write(dir.path().join("stock/shop/deep/a.txt"), "no").unwrap();
    answers("1 3 no").await;
    fs::write(dir.path().join("stock/data/my logo.png"), [0xff; 9]).unwrap();
    answers("1 9 no").await;
}

#[tokio::test]
async fn a_folder_of_functions_runs_them_all() {
    let dir = tempfile::tempdir().unwrap();
    write_function(&dir.path().join("all/one"), "one", "1");
    write_function(&dir.path().join("all/deeper/two"), "two", "2");
    let up = Up::start(dir.path(), ["--ephemeral", "-f", "all"]);
    for (name, answer) in [("one", "1"), ("two", "2")] {
        let path = format!("/function/{name}");
        eventually("it answers", async || {
            match up.platform().gateway().get(&path).await.text() {
                text if text == answer => Ok(()),
                text => Err(format!("{text}\n{}", up.printed())),
            }
        })
        .await;
    }
    // A function that comes later is found as well.
    write_function(&dir.path().join("all/three"), "three", "3");
    eventually("the new one answers", async || {
        match up.platform().gateway().get("/function/three").await.text() {
            text if text == "3" => Ok(()),
            text => Err(text),
        }
    })
    .await;
}

#[tokio::test]
async fn what_git_lfs_has_not_fetched_is_refused_by_name() {
    let space = Space::new().await;
    let kubeconfig = space.platform.kubeconfig.as_path();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("shop");
    write_function(&folder, "shop", "open");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    fs::create_dir(folder.join("data")).unwrap();
    write("data/model.bin", &pointer(&"0".repeat(64), 12345));
    let deploy = ["deploy", "-n", &space.name, "-f", folder.to_str().unwrap()];
    // Nothing says that it is more than what it looks like.
    ok(kubeconfig, &deploy);
    write(
        ".gitattributes",
        "*.bin filter=lfs diff=lfs merge=lfs -text\n",
    );
    let path = folder.to_str().unwrap();
    let named = [
        "deploy",
        "-n",
        &space.name,
        "shop",
        "--runtime",
        "python",
        path,
    ];
    for arguments in [&deploy[..], &named] {
        let (deployed, printed) = run(kubeconfig, arguments);
        assert!(!deployed, "{printed}");
        for part in [
            "data/model.bin in ",
            "cannot be source: Git LFS keeps what belongs there",
            "git lfs pull",
            ".fermataignore",
        ] {
            assert!(printed.contains(part), "{part}: {printed}");
        }
    }
    // Fetched, it is what was meant; left out, nobody misses it.
    write("data/model.bin", "a model");
    ok(kubeconfig, &deploy);
    write("data/model.bin", &pointer(&"0".repeat(64), 12345));
    write(".fermataignore", "*.bin\n");
    ok(kubeconfig, &deploy);
}
