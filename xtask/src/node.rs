//! Node.js for the tests of its runtime: the one on `PATH`, else Debian's package, else none.

use std::{path::Path, process::Command};

use crate::shell;

/// Whether Node.js is there, installing it where that takes no more than a package.
#[allow(clippy::print_stderr, reason = "progress is for people")]
pub(crate) fn ensure() -> bool {
    if is_there() {
        return true;
    }
    let root = shell::output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0");
    if root && Path::new("/usr/bin/apt-get").exists() {
        let update = shell::run(
            "update the list of packages",
            Command::new("apt-get").args(["update", "-qq"]),
        );
        let install = || {
            shell::run(
                "install Node.js",
                Command::new("apt-get").args(["install", "-y", "-qq", "nodejs"]),
            )
        };
        if update.and_then(|()| install()).is_ok() && is_there() {
            return true;
        }
    }
    eprintln!("Node.js is not on PATH: the node runtime is not tested.");
    false
}

fn is_there() -> bool {
    shell::output(Command::new("node").arg("--version")).is_some()
}
