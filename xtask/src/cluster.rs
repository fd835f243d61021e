//! `cargo xtask cluster`: a real Kubernetes of one node on this machine.
//!
//! Its programs are built from their Go modules (`tests/cluster/go.mod`) and run as processes; the
//! container runtime's helpers are Debian's packages. Nothing of it listens beyond an address of
//! its own that only this machine has.

mod component;
mod config;
mod host;
mod images;
mod layout;
mod leftovers;
mod network;
mod node;
mod pki;
mod process;
mod registry;
mod tools;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use component::{ALL, Component};
use layout::Layout;
use process::How;
pub(crate) use tools::{Tools, kubectl};

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Build its programs if they are not there yet, and start what does not run.
    Up,
    /// End everything and remove all of its state. What was built stays.
    Down,
    /// Load images into its node, from archives that `cargo xtask image` made.
    Load {
        /// The archives.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Stop one component: SIGTERM, then SIGKILL after ten seconds.
    Stop {
        component: Component,
        /// SIGKILL at once.
        #[arg(long)]
        kill: bool,
    },
    /// Kill the processes of one container with SIGKILL.
    Kill {
        /// The id of the container.
        container: String,
    },
    /// Start one component that was stopped, and wait until it serves.
    Start { component: Component },
}

/// A cluster that runs.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    layout: Layout,
    tools: Tools,
}

#[allow(clippy::print_stderr, reason = "progress is for people")]
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    match &options.action {
        Action::Up => {
            let cluster = Cluster::up()?;
            eprintln!(
                "export KUBECONFIG={} PATH={}:$PATH",
                cluster.kubeconfig().display(),
                cluster.tools.folder().display()
            );
            Ok(())
        }
        Action::Down => Cluster::there()?.down(),
        Action::Load { archives } => Cluster::there()?.load(archives),
        Action::Stop { component, kill } => {
            let how = if *kill { How::Kill } else { How::Terminate };
            Cluster::there()?.stop(*component, how)
        }
        Action::Kill { container } => {
            let cluster = Cluster::there()?;
            node::kill(&cluster.layout, &cluster.tools, container)
        }
        Action::Start { component } => Cluster::there()?.start(*component),
    }
}

// === impl Cluster ===

impl Cluster {
    /// Starts what does not run yet, and waits until the node takes pods.
    ///
    /// # Errors
    ///
    /// When the machine lacks something (see [`missing`]), when a program cannot be built, or when a
    /// component ends or does not become ready; the message has the end of its log.
    pub(crate) fn up() -> anyhow::Result<Self> {
        host::prepare()?;
        let cluster = Self {
            layout: Layout::new(),
            tools: Tools::build()?,
        };
        leftovers::clear(&cluster.layout)?;
        pki::make(&cluster.layout)?;
        config::write(&cluster.layout)?;
        network::up()?;
        for component in ALL {
            cluster.start(component)?;
        }
        images::load_own(&cluster.layout, &cluster.tools)?;
        node::wait_until_ready(&cluster.layout, &cluster.tools)?;
        Ok(cluster)
    }

    /// Whether it runs already, or a part of it.
    pub(crate) fn runs() -> bool {
        let layout = Layout::new();
        ALL.iter()
            .any(|component| process::runs(&layout, component.name()))
    }

    /// The cluster whose programs were built before, whether it runs or not.
    fn there() -> anyhow::Result<Self> {
        Ok(Self {
            layout: Layout::new(),
            tools: Tools::built().context("run cargo xtask cluster up first")?,
        })
    }

    /// The kubeconfig of its administrator.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig("admin")
    }

    /// Its programs.
    pub(crate) fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Loads images into its node.
    pub(crate) fn load<P: AsRef<Path>>(&self, archives: &[P]) -> anyhow::Result<()> {
        archives
            .iter()
            .try_for_each(|archive| images::load(&self.layout, &self.tools, archive.as_ref()))
    }

    /// Gives an image of its node a further name.
    pub(crate) fn tag(&self, image: &str, name: &str) -> anyhow::Result<()> {
        images::tag(&self.layout, &self.tools, image, name)
    }

    /// Starts a component, if it does not run, and waits until it serves.
    fn start(&self, component: Component) -> anyhow::Result<()> {
        let name = component.name();
        if !process::runs(&self.layout, name) {
            if component == Component::Registry {
                registry::prepare(&self.layout)?;
            }
            process::start(
                &self.layout,
                name,
                component.command(&self.layout, &self.tools),
            )?;
        }
        component.wait_until_it_serves(&self.layout, &self.tools)
    }

    /// Starts a registry that nodes and pods reach without TLS, and gives its address. What it holds goes with the
    /// cluster.
    pub(crate) fn registry(&self) -> anyhow::Result<&'static str> {
        self.start(Component::Registry)?;
        Ok(registry::ADDRESS)
    }

    fn stop(&self, component: Component, how: How) -> anyhow::Result<()> {
        process::stop(&self.layout, component.name(), how)
    }

    /// Ends everything and removes all state.
    pub(crate) fn down(&self) -> anyhow::Result<()> {
        // The node first: it would start again what is taken from it.
        self.stop(Component::Kubelet, How::Terminate)?;
        node::end_containers(&self.layout, &self.tools)?;
        self.stop(Component::Registry, How::Terminate)?;
        for component in ALL.into_iter().rev() {
            self.stop(component, How::Terminate)?;
        }
        process::kill_all(&self.tools.program("containerd-shim-runc-v2"))?;
        network::down(&self.layout, &self.tools)?;
        self.layout.remove()
    }
}

/// The cluster's programs, which are built if they are not there yet.
///
/// # Errors
///
/// When one cannot be built.
pub(crate) fn tools() -> anyhow::Result<Tools> {
    Tools::build()
}

/// What this machine lacks to run a cluster, as one sentence; nothing if it can.
pub(crate) fn missing() -> Option<String> {
    host::missing()
}
