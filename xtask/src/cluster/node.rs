//! The node as Kubernetes sees it, and the containers on it.

use std::time::Duration;

use super::{
    images::ctr,
    layout::{Layout, NODE_NAME},
    process,
    tools::Tools,
};
use crate::shell;

/// How long the node may take to become ready.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until pods can be scheduled.
pub(super) fn wait_until_ready(layout: &Layout, tools: &Tools) -> anyhow::Result<()> {
    let kubectl = |arguments: &[&str]| {
        let mut kubectl = tools.command("kubectl");
        kubectl
            .arg("--kubeconfig")
            .arg(layout.kubeconfig("admin"))
            .args(arguments);
        shell::output(&mut kubectl)
    };
    process::wait(layout, "kubelet", PATIENCE, || {
        let path = "jsonpath={.status.conditions[?(@.type=='Ready')].status} {.spec.taints}";
        let node = kubectl(&["get", "node", NODE_NAME, "--output", path]);
        node.is_some_and(|node| node.trim() == "True")
            // The controller manager makes it in each namespace; pods need it.
            && kubectl(&["get", "serviceaccount", "default"]).is_some()
    })
}

/// Kills all containers. Their pods are gone with the cluster's state.
pub(super) fn end_containers(layout: &Layout, tools: &Tools) -> anyhow::Result<()> {
    if !process::runs(layout, "containerd") {
        return Ok(());
    }
    let tasks = |arguments: &[&str]| ctr(layout, tools, &[&["tasks"], arguments].concat());
    let running = || shell::output(&mut tasks(&["list", "--quiet"])).unwrap_or_default();
    process::wait(layout, "containerd", PATIENCE, || {
        let ids = running();
        for id in ids.lines() {
            // One may have ended by itself meanwhile.
            let _ = shell::quiet(&mut tasks(&["delete", "--force", id]));
        }
        ids.is_empty()
    })
}

/// Kills a container's processes, as a crash would.
pub(super) fn kill(layout: &Layout, tools: &Tools, container: &str) -> anyhow::Result<()> {
    let arguments = ["tasks", "kill", "--all", "--signal", "SIGKILL", container];
    shell::quiet(&mut ctr(layout, tools, &arguments))
}
