//! Node.js for the tests of its runtime: the one on `PATH`, else Debian's package, else none.

use std::process::Command;

use crate::{debian, shell};

/// Whether Node.js is there, installing it where that takes no more than a package.
#[allow(clippy::print_stderr, reason = "progress is for people")]
pub(crate) fn ensure() -> bool {
    if is_there() {
        return true;
    }
    if let Err(error) = debian::ensure(&["nodejs"]) {
        eprintln!("Node.js: {error:#}");
    }
    if is_there() {
        return true;
    }
    eprintln!("Node.js is not on PATH: the node runtime is not tested.");
    false
}

fn is_there() -> bool {
    shell::output(Command::new("node").arg("--version")).is_some()
}
