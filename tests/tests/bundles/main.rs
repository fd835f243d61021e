//! Folders that are too large for a manifest, with the real git.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use fermata_tests::{Up, eventually, fermata, fermata_bin, kubectl};
use serde_json::Value;
use tempfile::TempDir;

/// What `source` files have in a repository of the platform's own.
const MODEL: usize = 5 * 1024 * 1024;

/// A `fermata up`, and the folder of a function beside its data.
struct World {
    up: Up,
    dir: TempDir,
}

// === impl World ===

impl World {
    /// Follows the folder `model`, or none.
    fn new(follows: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_function(&dir.path().join("model"), "one");
        let follow = follows.then_some(["-f", "model"]);
        let arguments = ["--ephemeral"].into_iter();
        let up = Up::start(dir.path(), arguments.chain(follow.into_iter().flatten()));
        Self { up, dir }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("model")
    }

    fn kubeconfig(&self) -> &Path {
        &self.up.platform().kubeconfig
    }

    fn run(&self, arguments: &[&str]) -> (bool, String) {
        said(&fermata(self.kubeconfig(), arguments))
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let (ok, printed) = self.run(arguments);
        assert!(ok, "{arguments:?}: {printed}\n{}", self.up.printed());
        printed
    }

    async fn answers(&self, name: &str, answer: &str) {
        eventually(answer, async || {
            let gateway = self.up.platform().gateway();
            match gateway.get(&format!("/function/{name}")).await.text() {
                text if text == answer => Ok(()),
                text => Err(format!("{text}\n{}", self.up.printed())),
            }
        })
        .await;
    }

    fn function(&self, name: &str) -> Value {
        let get = ["get", "functions.fermata.dev", name, "-o", "json"];
        let output = kubectl(self.kubeconfig(), &get);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn revision(&self, name: &str) -> String {
        let function = self.function(name);
        let revision = function["status"]["latestCreatedRevision"].as_str();
        revision.unwrap_or_default().to_owned()
    }

    /// The commits of a function's bundles that are kept.
    fn bundles(&self, name: &str) -> Vec<String> {
        let repository = format!("data/git/default/{name}.bundles.git");
        let output = Command::new("git")
            .arg("--git-dir")
            .arg(self.dir.path().join(repository))
            .args(["for-each-ref", "--format=%(refname)"])
            .output()
            .unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        listed.lines().map(str::to_owned).collect()
    }
}

fn said(output: &Output) -> (bool, String) {
    let printed = [&output.stdout[..], &output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    (output.status.success(), printed)
}

fn git(folder: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"]);
    git
}

fn has(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is not in:\n{text}");
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Bytes that cannot be packed much smaller, always the same.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    bytes.flatten().take(length).collect()
}

fn answer(word: &str) -> String {
    format!(
        "import subprocess\nfrom pathlib import Path\n\nfrom shop.deep.model import size\n\n\n\
         def handle(request):\n\
         \x20   said = subprocess.run(['./bin/say'], capture_output=True, text=True).stdout\n\
         \x20   ends = Path('data/ends.txt').read_bytes()\n\
         \x20   return f'{word} {{size()}} {{said}} {{ends}}'\n"
    )
}

/// What [`answer`] answers.
fn answered(word: &str) -> String {
    format!("{word} {MODEL} script b'$Id$\\r\\na\\n'")
}

/// A function with a large file, packages in each other, a script, and attributes that git would heed.
fn write_function(folder: &Path, word: &str) {
    let function = "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {name: model}\n\
        spec: {source: {runtime: python}}\n";
    write(folder, "function.yaml", function);
    write(folder, "main.py", answer(word));
    write(folder, "shop/__init__.py", "");
    write(folder, "shop/deep/__init__.py", "");
    write(
        folder,
        "shop/deep/model.py",
        "from pathlib import Path\n\n\ndef size():\n    return len(Path('data/model.bin').read_bytes())\n",
    );
    write(folder, "data/model.bin", noise(MODEL));
    // Without the permission, as archives and other systems lose it.
    write(folder, "bin/say", "#!/bin/sh\nprintf script\n");
    write(folder, "data/ends.txt", "$Id$\r\na\n");
    write(
        folder,
        ".gitattributes",
        "* text eol=crlf ident filter=lfs working-tree-encoding=UTF-16\n*.bin text\n",
    );
    write(folder, ".fermataignore", "!.gitattributes\n");
}

#[tokio::test]
async fn a_watched_folder_with_a_large_file_runs_and_follows_its_changes() {
    let world = World::new(true);
    world.answers("model", &answered("one")).await;
    let source = world.function("model")["spec"]["source"].clone();
    has(source["git"]["url"].as_str().unwrap(), "/model.bundles.git");
    write(&world.folder(), "main.py", answer("two"));
    world.answers("model", &answered("two")).await;
    assert_eq!(world.bundles("model").len(), 2);

    let before = world.revision("model");
    write(&world.folder(), "main.py", answer("three"));
    world.answers("model", &answered("three")).await;
    assert_ne!(world.revision("model"), before);

    // It shrinks, and is in the manifest again; it grows, and is not.
    fs::remove_file(world.folder().join("data/model.bin")).unwrap();
    let main = "def handle(request):\n    return 'small'\n";
    write(&world.folder(), "main.py", main);
    world.answers("model", "small").await;
    let source = world.function("model")["spec"]["source"].clone();
    assert_eq!(source["git"], Value::Null, "{source}");
    assert_eq!(source["files"]["main.py"], main);
    write(&world.folder(), "data/model.bin", noise(MODEL));
    write(&world.folder(), "main.py", answer("two"));
    world.answers("model", &answered("two")).await;
    let source = world.function("model")["spec"]["source"].clone();
    assert_eq!(source["files"], Value::Null, "{source}");
}

#[tokio::test]
async fn a_deployed_folder_is_stored_once() {
    let world = World::new(false);
    let folder = world.folder();
    let path = folder.to_str().unwrap();
    let deploy = ["deploy", "-f", path];
    write(&folder, ".fermataignore", "!.gitattributes\n*.csv\n");
    let first = world.ok(&deploy);
    has(&first, "model: 5.0 MiB in 8 files stored as ");
    world.answers("model", &answered("one")).await;
    let revision = world.revision("model");

    // The time and the permissions of files are no change, nor is what is left out, and nothing happens.
    write(&folder, "main.py", answer("one"));
    write(&folder, "data/left-out.csv", "1,2\n");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.join("main.py"), mode).unwrap();
    let again = world.ok(&deploy);
    assert!(!again.contains("stored"), "{again}");
    assert_eq!(world.revision("model"), revision);

    // What is printed can be applied, by kubectl too.
    write(&folder, "main.py", answer("two"));
    let output = fermata(world.kubeconfig(), &["deploy", "--dry-run", "-f", path]);
    let (ok, said) = said(&output);
    assert!(ok, "{said}");
    let printed = world.dir.path().join("printed.yaml");
    fs::write(&printed, &output.stdout).unwrap();
    assert_eq!(world.revision("model"), revision);
    let apply = ["apply", "--server-side", "--force-conflicts", "-f"];
    let apply = [&apply[..], &[printed.to_str().unwrap()]].concat();
    let applied = kubectl(world.kubeconfig(), &apply);
    assert!(applied.status.success(), "{applied:?}");
    world.answers("model", &answered("two")).await;
    let unchanged = world.ok(&deploy);
    assert!(!unchanged.contains("stored"), "{unchanged}");

    // Without its manifest the folder is a function as well, and files of its own can take their place.
    let named = ["deploy", "other", "--runtime", "python", path];
    world.ok(&named);
    world.answers("other", &answered("two")).await;
    let printed = world.ok(&[&named[..], &["--dry-run"]].concat());
    has(&printed, "/git/default/other.bundles.git");
    write(
        world.dir.path(),
        "main.py",
        "def handle(request):\n    return 'small'\n",
    );
    let small = world.dir.path().join("main.py");
    world.ok(&[
        "deploy",
        "other",
        "--runtime",
        "python",
        small.to_str().unwrap(),
    ]);
    world.answers("other", "small").await;
}

#[tokio::test]
async fn deploys_at_once_do_not_take_from_each_other() {
    let world = World::new(false);
    let copies: Vec<PathBuf> = (0..6)
        .map(|number| world.dir.path().join(format!("copy-{number}")))
        .collect();
    for (number, copy) in copies.iter().enumerate() {
        write_function(copy, &format!("copy-{number}"));
    }
    let deploys: Vec<_> = copies
        .iter()
        .map(|copy| {
            Command::new(fermata_bin())
                .arg("--kubeconfig")
                .arg(world.kubeconfig())
                .args(["deploy", "--no-wait", "-f"])
                .arg(copy)
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for deploy in deploys {
        let output = deploy.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    // Each of them can still be what runs.
    assert_eq!(world.bundles("model").len(), copies.len());
    for (number, copy) in copies.iter().enumerate() {
        world.ok(&["deploy", "-f", copy.to_str().unwrap()]);
        world
            .answers("model", &answered(&format!("copy-{number}")))
            .await;
    }
}

#[tokio::test]
async fn a_function_with_a_bundle_runs_after_a_restart_at_another_address() {
    let dir = tempfile::tempdir().unwrap();
    write_function(&dir.path().join("model"), "one");
    for _ in 0..2 {
        let up = Up::start::<&str>(dir.path(), []);
        let folder = dir.path().join("model");
        // The second time it is there.
        if !dir.path().join("data/git/default").exists() {
            let deploy = ["deploy", "-f", folder.to_str().unwrap()];
            let (ok, printed) = said(&fermata(&up.platform().kubeconfig, &deploy));
            assert!(ok, "{printed}\n{}", up.printed());
        }
        eventually("it answers", async || {
            match up.platform().gateway().get("/function/model").await.text() {
                text if text == answered("one") => Ok(()),
                text => Err(format!("{text}\n{}", up.printed())),
            }
        })
        .await;
        let (code, printed) = up.stop();
        assert_eq!(code, Some(0), "{printed}");
    }
}

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
    let pushes: Vec<_> = (0..8)
        .map(|number| {
            let (name, folder) = (
                format!("at-once-{number}"),
                world.dir.path().join(format!("at-once-{number}")),
            );
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
            let push = git(&folder)
                .args(["push", &format!("http://{gateway}/git/{name}.git")])
                .arg("HEAD:main")
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            (name, push)
        })
        .collect();
    for (name, push) in pushes {
        let (ok, printed) = said(&push.wait_with_output().unwrap());
        assert!(ok, "{name}: {printed}\n{}", world.up.printed());
        has(&printed, "stored as ");
        world.answers(&name, &name).await;
    }
}

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

    // The user's own settings change nothing.
    let config = "[core]\n\tautocrlf = true\n\thooksPath = /nowhere\n[commit]\n\tgpgSign = true\n\
        [user]\n\tname = Somebody\n[init]\n\tdefaultObjectFormat = sha256\n\
        [http]\n\tproxy = http://127.0.0.1:9\n[filter \"lfs\"]\n\tclean = false\n\trequired = true\n";
    let home = world.dir.path().join("home");
    write(&home, ".gitconfig", config);
    let deploy = |home: Option<&Path>| {
        let mut fermata = Command::new(fermata_bin());
        fermata.arg("--kubeconfig").arg(world.kubeconfig());
        fermata
            .args(["deploy", "--no-wait", "-f"])
            .arg(world.folder());
        fermata.envs(home.map(|home| ("HOME", home)));
        let (ok, printed) = said(&fermata.output().unwrap());
        assert!(ok, "{printed}");
        printed
    };
    has(&deploy(Some(&home)), "stored as");
    let plain = deploy(None);
    assert!(!plain.contains("stored as"), "{plain}");
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
