//! What a cluster leaves behind that was killed with the command that had started it.
//!
//! Its files may be gone with their checkout, and its networks are not: a new cluster gives pods the same
//! addresses, and the routes to them still lead to the links of the dead ones.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt as _};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    component::ALL,
    layout::{Layout, mounts_below},
    network, process,
};

/// The file that names the checkout whose cluster this machine has.
const HOME: &str = "home";

/// Removes what is left of a cluster that does not run any more, and takes down whose the next one is.
///
/// # Errors
///
/// When the cluster of another checkout runs, or something cannot be removed.
pub(super) fn clear(layout: &Layout) -> anyhow::Result<()> {
    let runs = |layout: &Layout| {
        let mut components = ALL.iter();
        components.any(|component| process::runs(layout, component.name()))
    };
    let home = layout.socket(HOME);
    let own = layout.path("");
    if let Ok(noted) = fs::read_to_string(&home)
        && own.as_os_str() != noted.trim()
        && runs(&Layout::of(noted.trim().into()))
    {
        bail!(
            "the cluster of another checkout runs on this machine, with its state in {}; end it with cargo xtask cluster down there",
            noted.trim()
        );
    }
    if !runs(layout) {
        end_pods(layout)?;
        network::clear()?;
        layout.remove_sockets()?;
    }
    layout.make()?;
    fs::write(&home, own.display().to_string())
        .with_context(|| format!("cannot write {}", home.display()))
}

/// Kills what runs in the networks of pods, and what watches over containers.
fn end_pods(layout: &Layout) -> anyhow::Result<()> {
    let sockets = layout.socket("");
    let networks: HashSet<u64> = mounts_below(&sockets)?
        .iter()
        .filter_map(|mount| fs::metadata(mount).ok())
        .map(|network| network.ino())
        .collect();
    let sockets = sockets.display().to_string();
    let processes = fs::read_dir("/proc").context("cannot list processes")?;
    for entry in processes.flatten() {
        let pid = entry.file_name().to_str().and_then(|id| id.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else {
            continue;
        };
        let network = fs::metadata(entry.path().join("ns/net")).map(|network| network.ino());
        let in_pod = network.is_ok_and(|network| networks.contains(&network));
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        let is_shim = command.contains("containerd-shim-runc-v2") && command.contains(&sockets);
        if in_pod || is_shim {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    Ok(())
}
