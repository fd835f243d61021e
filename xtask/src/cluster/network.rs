//! The node's address, and the way between pods.

use std::{fs, path::Path, process::Command};

use anyhow::Context as _;

use super::{
    layout::{INTERFACE, Layout, NODE_ADDRESS},
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
        // The kubelet has some too, and no such command.
        remove_rules()?;
    }
    if Path::new("/sys/class/net").join(INTERFACE).exists() {
        ip(&["link", "delete", INTERFACE])?;
    }
    Ok(())
}

/// Removes Kubernetes' own chains, and the rules that lead there.
fn remove_rules() -> anyhow::Result<()> {
    for table in ["filter", "mangle", "nat"] {
        let rules = shell::output(Command::new("iptables-save").args(["--table", table]));
        let rules = rules.unwrap_or_default();
        let iptables = |arguments: &[&str]| {
            shell::quiet(
                Command::new("iptables")
                    .args(["--wait", "--table", table])
                    .args(arguments),
            )
        };
        let jumps = rules
            .lines()
            .filter_map(|line| line.strip_prefix("-A "))
            .filter(|rule| !rule.starts_with("KUBE-"))
            .filter(|rule| rule.split(' ').any(|word| word.starts_with("KUBE-")));
        for rule in jumps {
            let words: Vec<&str> = rule.split(' ').collect();
            iptables(&[&["--delete"], words.as_slice()].concat())?;
        }
        let chains = || {
            let names = rules.lines().filter_map(|line| line.strip_prefix(":KUBE-"));
            names.filter_map(|rest| rest.split(' ').next())
        };
        for chain in chains() {
            iptables(&["--flush", &format!("KUBE-{chain}")])?;
        }
        for chain in chains() {
            iptables(&["--delete-chain", &format!("KUBE-{chain}")])?;
        }
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    shell::quiet(Command::new("ip").args(arguments))
}
