//! Programs and files that the tests use.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in the repository")
        .to_owned()
}

/// One of the manifests in `examples/`.
#[must_use]
pub fn examples(name: &str) -> PathBuf {
    repository().join("examples").join(name)
}

/// A program that was built along with the tests.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test
        .ancestors()
        .find(|dir| dir.join("deps").is_dir())
        .expect("tests are built into deps");
    let program = profile.join(name);
    assert!(
        program.is_file(),
        "{} is missing; build the workspace first: cargo build --workspace",
        program.display()
    );
    program
}

/// Runs kubectl against a cluster and gives what it printed.
///
/// The program is `KUBECTL` if that is set, else the one on `PATH`.
#[must_use]
pub fn kubectl(kubeconfig: &Path, arguments: &[&str]) -> Output {
    let program = std::env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into());
    Command::new(&program)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        // A cache that is shared with other clusters would show their kinds.
        .arg(format!(
            "--cache-dir={}",
            kubeconfig.with_extension("cache").display()
        ))
        .args(arguments)
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "cannot run {}: {error}; cargo xtask test provides kubectl",
                program.display()
            )
        })
}
