//! A registry for images at the node's address, which the node and its pods reach without TLS.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::layout::{Layout, NODE_ADDRESS};
use crate::debian;

/// Debian's program and package.
pub(super) const PROGRAM: &str = "docker-registry";

/// Where it listens.
pub(super) const ADDRESS: &str = "10.212.0.1:5000";

/// The folder in which containerd looks for how registries are spoken to.
pub(super) const HOSTS: &str = "config/registries";

/// Lets containerd speak to it without TLS.
pub(super) fn allow(layout: &Layout) -> anyhow::Result<()> {
    debug_assert!(ADDRESS.starts_with(NODE_ADDRESS), "it is on the node");
    let folder = layout.path(HOSTS).join(ADDRESS);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = folder.join("hosts.toml");
    let text = format!(
        "server = \"http://{ADDRESS}\"\n\n[host.\"http://{ADDRESS}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
    );
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// Its configuration file.
pub(super) fn config(layout: &Layout) -> PathBuf {
    layout.path("config/registry.json")
}

/// Installs it, and writes its configuration. JSON is YAML.
pub(super) fn prepare(layout: &Layout) -> anyhow::Result<()> {
    debian::ensure(&[PROGRAM, "skopeo"])?;
    let file = config(layout);
    let config = json!({
        "version": 0.1,
        "storage": {
            "filesystem": {"rootdirectory": layout.path("registry")},
            "delete": {"enabled": true},
        },
        "http": {"addr": ADDRESS},
    });
    fs::write(&file, config.to_string()).with_context(|| format!("cannot write {}", file.display()))
}
