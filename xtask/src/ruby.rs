//! Ruby for the test of the Runtime that `docs/runtimes.md` adds: the one on `PATH`, else Debian's packages, else none.

use std::process::Command;

use crate::{debian, shell};

/// Installs it where that takes no more than packages, or says that it is not there.
#[allow(clippy::print_stderr, reason = "progress is for people")]
pub(crate) fn ensure() {
    if is_there() {
        return;
    }
    if let Err(error) = debian::ensure(&["ruby", "bundler"]) {
        eprintln!("Ruby: {error:#}");
    }
    if !is_there() {
        eprintln!("ruby and bundle are not on PATH: what docs/runtimes.md adds is not tested.");
    }
}

fn is_there() -> bool {
    let answers = |program| shell::output(Command::new(program).arg("--version")).is_some();
    answers("ruby") && answers("bundle")
}
