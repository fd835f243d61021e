//! Images in the node's store. Nothing is ever pulled: there is no registry.

use std::{path::Path, process::Command};

use anyhow::bail;

use super::{layout::Layout, process, tools::Tools};
use crate::{image, shell};

/// The image of a pod's sandbox.
pub(super) const PAUSE: &str = "localhost/pause:1";

/// Loads the image that the node itself needs.
pub(super) fn load_own(layout: &Layout, tools: &Tools) -> anyhow::Result<()> {
    let archive = layout.path("pause.tar");
    if archive.exists() {
        return Ok(());
    }
    image::of_program(PAUSE, &tools.program("pause"), &archive)?;
    load(layout, tools, &archive)
}

/// Loads an archive, replacing images of the same names.
pub(super) fn load(layout: &Layout, tools: &Tools, archive: &Path) -> anyhow::Result<()> {
    if !process::runs(layout, "containerd") {
        bail!("the cluster does not run; start it with cargo xtask cluster up");
    }
    let mut import = ctr(layout, tools, &["images", "import", "--all-platforms"]);
    shell::quiet(import.arg(archive))
}

/// Gives an image a further name.
pub(super) fn tag(layout: &Layout, tools: &Tools, image: &str, name: &str) -> anyhow::Result<()> {
    let arguments = ["images", "tag", "--force", image, name];
    shell::quiet(&mut ctr(layout, tools, &arguments))
}

/// A command of containerd's own client, in Kubernetes' namespace.
pub(super) fn ctr(layout: &Layout, tools: &Tools, arguments: &[&str]) -> Command {
    let mut command = tools.command("ctr");
    command
        .arg("--address")
        .arg(layout.socket("containerd.sock"))
        .args(["--namespace", "k8s.io"])
        .args(arguments);
    command
}
