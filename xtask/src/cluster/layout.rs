//! Where the cluster keeps its files, and which addresses it has.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use crate::shell;

/// The address of the node, of its API server and of its DNS.
pub(crate) const NODE_ADDRESS: &str = "10.212.0.1";
/// The addresses of pods.
pub(crate) const POD_NETWORK: &str = "10.213.0.0/16";
/// The addresses of Services.
pub(crate) const SERVICE_NETWORK: &str = "10.214.0.0/16";
/// The address of the Service `kubernetes`: the first of the network.
pub(crate) const API_SERVICE: &str = "10.214.0.1";
/// The name of the node.
pub(crate) const NODE_NAME: &str = "node";
/// The port of the API server.
pub(crate) const API_PORT: u16 = 6443;
/// The network interface that has the node's address.
pub(crate) const INTERFACE: &str = "fermata0";

/// The cluster's folders. Sockets have one of their own, because their paths must be short.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    sockets: PathBuf,
}

// === impl Layout ===

impl Layout {
    pub(crate) fn new() -> Self {
        Self::of(shell::root().join("target/cluster"))
    }

    /// That of the cluster with its state in this folder.
    pub(crate) fn of(root: PathBuf) -> Self {
        Self {
            root,
            sockets: "/run/fermata-cluster".into(),
        }
    }

    /// A file or folder below the cluster's own.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// A socket.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.sockets.join(name)
    }

    /// The kubeconfig of one user. The administrator's has the plain name.
    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        match user {
            "admin" => self.path("kubeconfig"),
            user => self.path(format!("config/{user}.kubeconfig")),
        }
    }

    /// A certificate or key.
    pub(crate) fn pki(&self, file: &str) -> PathBuf {
        self.path("pki").join(file)
    }

    /// The log of a component.
    pub(crate) fn log(&self, component: &str) -> PathBuf {
        self.path("log").join(component).with_extension("log")
    }

    /// Makes the folders.
    pub(crate) fn make(&self) -> anyhow::Result<()> {
        let below = [
            "pki",
            "config/cni",
            "log",
            "run",
            "etcd",
            "containerd",
            "kubelet",
        ];
        let folders = below.iter().map(|name| self.path(name));
        for folder in folders.chain([self.sockets.clone()]) {
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(())
    }

    /// Removes everything, undoing the mounts of pods and images first.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        remove(&self.root)?;
        self.remove_sockets()
    }

    /// Removes what is outside of the checkout.
    pub(crate) fn remove_sockets(&self) -> anyhow::Result<()> {
        remove(&self.sockets)
    }
}

/// What is mounted in a folder; what was mounted last comes last.
pub(super) fn mounts_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    // The fifth field is where it is mounted.
    let points = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|point| point.starts_with(folder));
    Ok(points.collect())
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    for point in mounts_below(folder)?.into_iter().rev() {
        let mut unmount = Command::new("umount");
        shell::quiet(unmount.arg("--lazy").arg(point))?;
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
