//! The node's address, and the way between pods.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context as _;

use super::{
    layout::{INTERFACE, Layout, NODE_ADDRESS, POD_NETWORK},
    tools::Tools,
};
use crate::shell;

/// Makes an interface that has the node's address and leads nowhere. Pods have links of their own.
pub(super) fn up() -> anyhow::Result<()> {
    if !Path::new("/sys/class/net").join(INTERFACE).exists() {
        ip(&["link", "add", INTERFACE, "type", "bridge"])?;
        ip(&[
            "address",
            "add",
            &format!("{NODE_ADDRESS}/32"),
            "dev",
            INTERFACE,
        ])?;
        ip(&["link", "set", INTERFACE, "up"])?;
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot let pods reach each other")
}

/// Removes the interface and the rules of Services.
pub(super) fn down(layout: &Layout, tools: &Tools) -> anyhow::Result<()> {
    if layout.kubeconfig("kube-proxy").exists() {
        shell::quiet(tools.command("kube-proxy").arg("--cleanup"))?;
    }
    clear()
}

/// Removes what an earlier cluster has left: rules, the node's interface, and links whose routes lead to pods.
pub(super) fn clear() -> anyhow::Result<()> {
    remove_rules()?;
    let routes = shell::output(Command::new("ip").args(["route", "show", "table", "main"]));
    for route in routes.unwrap_or_default().lines() {
        let mut words = route.split(' ');
        let to_pod = words.next().is_some_and(is_of_pod);
        let mut after_dev = words.skip_while(|word| *word != "dev").skip(1);
        if let Some(link) = after_dev.next().filter(|_| to_pod)
            && Path::new("/sys/class/net").join(link).exists()
        {
            ip(&["link", "delete", link])?;
        }
    }
    if Path::new("/sys/class/net").join(INTERFACE).exists() {
        ip(&["link", "delete", INTERFACE])?;
    }
    Ok(())
}

/// Whether a destination is in the network of pods.
fn is_of_pod(destination: &str) -> bool {
    let prefix = POD_NETWORK.split('.').take(2).collect::<Vec<_>>().join(".");
    destination.starts_with(&format!("{prefix}."))
}

/// Removes Kubernetes' own chains, and the rules that lead there: all tables are restored without them.
fn remove_rules() -> anyhow::Result<()> {
    for table in ["filter", "mangle", "nat"] {
        let mut save = Command::new("iptables-save");
        let Some(rules) = shell::output(save.args(["--table", table])) else {
            // Nothing was ever set up here.
            continue;
        };
        let is_own = |line: &str| {
            let mut words = line.split([' ', ':']);
            words.any(|word| word.starts_with("KUBE-"))
        };
        if !rules.lines().any(is_own) {
            continue;
        }
        let kept: String = rules
            .lines()
            .filter(|line| !is_own(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        restore(&kept)?;
    }
    Ok(())
}

fn restore(rules: &str) -> anyhow::Result<()> {
    let mut restore = Command::new("iptables-restore")
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run iptables-restore")?;
    if let Some(mut stdin) = restore.stdin.take() {
        stdin
            .write_all(rules.as_bytes())
            .context("iptables-restore takes no rules")?;
    }
    let status = restore.wait().context("cannot wait for iptables-restore")?;
    anyhow::ensure!(status.success(), "iptables-restore failed ({status})");
    Ok(())
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    shell::quiet(Command::new("ip").args(arguments))
}
