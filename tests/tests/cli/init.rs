//! What `fermata init` writes, and `fermata test`.

use std::{fs, path::Path, process::Command};

use fermata_tests::{Up, eventually, fermata_bin};

use crate::{is_installed, run};

/// Whether functions of a Runtime can be run here.
fn has_tool(runtime: &str) -> bool {
    match runtime {
        "go" => Command::new("go").arg("version").output().is_ok(),
        "node" => is_installed("node"),
        _ => true,
    }
}

#[tokio::test]
async fn what_init_writes_runs_unchanged_and_rolls_when_it_is_edited() {
    for (runtime, file, edit) in [
        ("python", "main.py", ("Hello", "Goodbye")),
        ("node", "main.mjs", ("Hello", "Goodbye")),
        ("go", "main.go", ("Hello", "Goodbye")),
        ("command", "main.sh", ("Hello", "Goodbye")),
    ] {
        if !has_tool(runtime) {
            println!("{runtime} is not on PATH: its runtime is not tested");
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let init = Command::new(fermata_bin())
            .args(["init", "greeter", "--runtime", runtime])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(init.status.success(), "{init:?}");
        let up = Up::start(dir.path(), ["--ephemeral", "-f", "greeter"]);
        let gateway = up.platform().gateway();
        let call = async || gateway.post("/function/greeter", "world").await;
        eventually("it answers", async || match call().await.text() {
            text if text == "Hello, world!\n" => Ok(()),
            text => Err(format!("{text}\n{}", up.printed())),
        })
        .await;
        let code = dir.path().join("greeter").join(file);
        let text = fs::read_to_string(&code).unwrap().replace(edit.0, edit.1);
        fs::write(&code, text).unwrap();
        // No call fails while the new revision rolls out.
        eventually("the edit has rolled out", async || {
            match call().await.ok().text() {
                text if text == "Goodbye, world!\n" => Ok(()),
                text => Err(text),
            }
        })
        .await;
        eventually("the change is told", async || {
            let printed = up.printed();
            let told = printed.contains("/function/greeter")
                && printed.contains("revision greeter-00002 is ready");
            if told { Ok(()) } else { Err(printed) }
        })
        .await;
        assert!(
            run(Path::new("/nonexistent"), &["list"])
                .1
                .contains("kubeconfig")
        );
    }
}

/// Runs `fermata test` in a folder, with a cache of its own, and tells whether it went well.
fn test(dir: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(fermata_bin())
        .arg("test")
        .args(arguments)
        .current_dir(dir)
        .env("XDG_CACHE_HOME", dir.join("cache"))
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&printed).into_owned(),
    )
}

#[test]
fn the_tests_that_init_writes_pass_until_the_code_is_wrong() {
    // That of Rust has its dependencies from crates.io.
    for (runtime, file) in [
        ("python", "main.py"),
        ("node", "main.mjs"),
        ("go", "main.go"),
    ] {
        if !has_tool(runtime) {
            println!("{runtime} is not on PATH: its tests are not run");
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let init = Command::new(fermata_bin())
            .args(["init", "greeter", "--runtime", runtime])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(init.status.success(), "{init:?}");
        let (passed, printed) = test(dir.path(), &["greeter"]);
        assert!(passed, "{printed}");
        let code = dir.path().join("greeter").join(file);
        let text = fs::read_to_string(&code).unwrap();
        fs::write(&code, text.replace("Hello", "Goodbye")).unwrap();
        let (passed, printed) = test(dir.path(), &["greeter"]);
        assert!(!passed && printed.contains("Goodbye"), "{printed}");
    }
}

#[tokio::test]
async fn what_init_writes_with_a_dependency_installs_it_and_runs_its_tests() {
    for (runtime, package, answer) in [
        ("python", "humanize", "Hello, you! Your name has 3 Bytes.\n"),
        ("node", "pretty-bytes", "Hello, you! Your name has 3 B.\n"),
        ("go", "go-humanize", "Hello, you! Your name has 3 B.\n"),
    ] {
        if !has_tool(runtime) {
            println!("{runtime} is not on PATH: its runtime is not tested");
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let init = |more: &[&str]| {
            let arguments = ["init", "greeter", "--dependency"];
            Command::new(fermata_bin())
                .args(arguments)
                .args(more)
                .current_dir(dir.path())
                .output()
                .unwrap()
        };
        let written = init(&["--runtime", runtime]);
        assert!(written.status.success(), "{written:?}");
        let (passed, printed) = test(dir.path(), &["greeter"]);
        assert!(passed, "{printed}");
        let up = Up::start(dir.path(), ["--ephemeral", "-f", "greeter"]);
        let gateway = up.platform().gateway();
        eventually("it answers", async || {
            match gateway.post("/function/greeter", "you").await.text() {
                text if text == answer => Ok(()),
                text => Err(format!("{package}: {text}\n{}", up.printed())),
            }
        })
        .await;
        let refused = init(&["--runtime", "command", "--dir", "other"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && said.contains("put into its image"),
            "{said}"
        );
        assert!(!dir.path().join("other").exists());
    }
}

#[test]
fn tests_leave_nothing_in_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let function = dir.path().join("shop");
    fs::create_dir(&function).unwrap();
    fs::write(function.join("main.py"), "x = 1\n").unwrap();
    let tests = "import unittest\nimport main\n\n\nclass Test(unittest.TestCase):\n    def test_x(self):\n        assert main.x == 1\n";
    fs::write(function.join("test_main.py"), tests).unwrap();
    let (passed, printed) = test(dir.path(), &["shop", "--runtime", "python"]);
    assert!(passed, "{printed}");
    let mut left: Vec<_> = fs::read_dir(&function)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["main.py", "test_main.py"]);
}

#[test]
fn a_function_without_tests_has_not_passed_them() {
    let dir = tempfile::tempdir().unwrap();
    let (passed, printed) = test(dir.path(), &[]);
    assert!(!passed && printed.contains("--runtime"), "{printed}");
    fs::write(dir.path().join("main.py"), "x = 1\n").unwrap();
    let (passed, printed) = test(dir.path(), &[]);
    assert!(!passed, "{printed}");
    if is_installed("node") {
        let (passed, printed) = test(dir.path(), &["--runtime", "node"]);
        assert!(!passed && printed.contains("no tests"), "{printed}");
    }
}

#[test]
fn modules_of_both_kinds_find_the_package_in_tests() {
    if !is_installed("node") {
        println!("node is not on PATH: its tests are not run");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let code = "const { test } = require('node:test');\n\
        const { HttpError } = require('fermata');\n\
        test('an error has a status', async () => {\n\
        \x20 const { Client } = await import('fermata/testing');\n\
        \x20 const answer = await new Client(() => { throw new HttpError(404, 'none'); }).get('/');\n\
        \x20 if (answer.status !== 404) throw new Error('it is ' + answer.status);\n\
        });\n";
    fs::write(dir.path().join("main.test.cjs"), code).unwrap();
    let (passed, printed) = test(dir.path(), &["--", "--test-reporter=tap"]);
    assert!(passed && printed.contains("# pass 1"), "{printed}");
}
