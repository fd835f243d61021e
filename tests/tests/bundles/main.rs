//! Folders that are too large for a manifest, with the real git.

mod pushes;
mod refusals;
mod without_git;

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
async fn settings_of_the_user_have_no_effect() {
    let world = World::new(false);
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
