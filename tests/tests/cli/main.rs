//! The command line, as a person uses it.

mod builds;
mod deploy;
mod folders;
mod init;
mod mistakes;
mod shell;
mod up;

use std::{fs, path::Path, process::Command};

use fermata_tests::fermata;

fn run(kubeconfig: &Path, arguments: &[&str]) -> (bool, String) {
    let output = fermata(kubeconfig, arguments);
    let printed = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&printed).into_owned(),
    )
}

fn ok(kubeconfig: &Path, arguments: &[&str]) -> String {
    let (ok, printed) = run(kubeconfig, arguments);
    assert!(ok, "fermata {arguments:?}: {printed}");
    printed
}

/// Whether a program is on `PATH`.
fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

const FUNCTION: &str = "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {name: NAME}\nspec: {source: {runtime: python, handler: main.handle}}\n";

/// Writes a function of Python into a folder of its own.
fn write_function(dir: &Path, name: &str, answer: &str) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("function.yaml"), FUNCTION.replace("NAME", name)).unwrap();
    let code = format!("def handle(request):\n    return '{answer}'\n");
    fs::write(dir.join("main.py"), code).unwrap();
}
