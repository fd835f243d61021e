//! Debian's packages, for what the tests need besides Rust.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use anyhow::{Context as _, bail};

use crate::shell;

/// What Debian's packages ask before they start a service; 101 means no
/// (<https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt>).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// As long as it lives, packages that are installed start no services.
struct NoServices {
    /// Whether somebody else's policy stays in force.
    theirs: bool,
}

/// Installs those of the packages that are missing. None of them starts a service.
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
    let _no_services = NoServices::begin()?;
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

// === impl NoServices ===

impl NoServices {
    fn begin() -> anyhow::Result<Self> {
        let theirs = Path::new(POLICY).exists();
        if !theirs {
            let executable = fs::Permissions::from_mode(0o755);
            fs::write(POLICY, "#!/bin/sh\nexit 101\n")
                .and_then(|()| fs::set_permissions(POLICY, executable))
                .with_context(|| format!("cannot write {POLICY}"))?;
        }
        Ok(Self { theirs })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if !self.theirs {
            // Left behind it would only keep services from starting, and the next run would see it.
            let _ = fs::remove_file(POLICY);
        }
    }
}
