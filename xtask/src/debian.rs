//! Debian's packages, for what the tests need besides Rust.

use std::{path::Path, process::Command};

use anyhow::bail;

use crate::shell;

/// Installs those of the packages that are missing.
///
/// # Errors
///
/// When this is no Debian, or not root's process, or a package cannot be installed; the message has
/// the line to run by hand.
pub(crate) fn ensure(packages: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| !is_installed(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install {}", missing.join(" "));
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("missing: {} (on Debian: {by_hand})", missing.join(", "));
    }
    if !shell::is_root() {
        bail!("missing: {}; as root, run: {by_hand}", missing.join(", "));
    }
    shell::run(
        "update the list of packages",
        Command::new("apt-get").args(["update", "-qq"]),
    )?;
    let mut install = Command::new("apt-get");
    install
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive");
    shell::run(&format!("install {}", missing.join(" ")), &mut install)
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    shell::output(&mut query).is_some_and(|status| status == "installed")
}
