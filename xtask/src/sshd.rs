//! A server of SSH for the tests of git sources: the one that is there, else Debian's package, else none.

use std::path::Path;

use crate::debian;

/// Where it is; it has to be called by its whole path.
const PROGRAM: &str = "/usr/sbin/sshd";

/// Whether one is there, installing it where that takes no more than a package. It starts no service.
#[allow(clippy::print_stderr, reason = "progress is for people")]
pub(crate) fn ensure() -> bool {
    if !Path::new(PROGRAM).exists()
        && let Err(error) = debian::ensure(&["openssh-server"])
    {
        eprintln!("OpenSSH: {error:#}");
    }
    let there = Path::new(PROGRAM).exists();
    if !there {
        eprintln!("{PROGRAM} is not there: repositories by SSH are not tested.");
    }
    there
}
