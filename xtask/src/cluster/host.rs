//! What the machine has to have.

use std::process::Command;

use crate::{debian, shell};

/// The low-level runtime, the plugins that give pods their network, and what kube-proxy calls.
const PACKAGES: [&str; 6] = [
    "conntrack",
    "containernetworking-plugins",
    "iproute2",
    "iptables",
    "runc",
    "mount",
];

/// What is missing, as one sentence.
pub(super) fn missing() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("a node needs Linux".into());
    }
    if !shell::is_root() {
        return Some("a node needs root".into());
    }
    if shell::output(Command::new("go").arg("version")).is_none() {
        return Some("its programs are built with Go, which is not on PATH".into());
    }
    None
}

/// Installs what Debian has.
pub(super) fn prepare() -> anyhow::Result<()> {
    if let Some(missing) = missing() {
        anyhow::bail!("a cluster cannot run here: {missing}");
    }
    debian::ensure(&PACKAGES)
}
