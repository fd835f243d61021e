//! The components: how each is started, and how it shows that it serves.

use std::{fmt::Display, path::Path, process::Command, time::Duration};

use clap::ValueEnum;

use super::{
    layout::{API_PORT, Layout, NODE_ADDRESS, NODE_NAME, POD_NETWORK, SERVICE_NETWORK},
    process, registry,
    tools::Tools,
};
use crate::shell;

/// How long a component may take until it serves.
const PATIENCE: Duration = Duration::from_secs(90);
/// Where etcd listens for the API server, and for other members, of which there are none.
const ETCD: [&str; 2] = ["http://127.0.0.1:2379", "http://127.0.0.1:2380"];

/// One process of the cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Component {
    Containerd,
    Etcd,
    ApiServer,
    ControllerManager,
    Scheduler,
    Kubelet,
    Proxy,
    Dns,
    /// A registry for images, which only those start that need one.
    Registry,
}

/// All of a Kubernetes, in the order in which they start.
pub(super) const ALL: [Component; 8] = [
    Component::Containerd,
    Component::Etcd,
    Component::ApiServer,
    Component::ControllerManager,
    Component::Scheduler,
    Component::Kubelet,
    Component::Proxy,
    Component::Dns,
];

// === impl Component ===

impl Component {
    /// The name of its program.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::Proxy => "kube-proxy",
            Self::Dns => "coredns",
            Self::Registry => registry::PROGRAM,
        }
    }

    /// Its command line.
    pub(super) fn command(self, layout: &Layout, tools: &Tools) -> Command {
        let mut command = match self {
            // Debian's.
            Self::Registry => Command::new(self.name()),
            _ => tools.command(self.name()),
        };
        match self {
            Self::Containerd => {
                command
                    .arg("--config")
                    .arg(layout.path("config/containerd.toml"));
            }
            Self::Etcd => {
                flag(&mut command, "data-dir", layout.path("etcd").display());
                flag(&mut command, "listen-client-urls", ETCD[0]);
                flag(&mut command, "advertise-client-urls", ETCD[0]);
                flag(&mut command, "listen-peer-urls", ETCD[1]);
                // Nothing here outlives the machine.
                flag(&mut command, "unsafe-no-fsync", true);
            }
            Self::ApiServer => api_server(&mut command, layout),
            Self::ControllerManager => {
                let pki = |file: &str| layout.pki(file).display().to_string();
                kubeconfig(&mut command, layout, self);
                flag(&mut command, "bind-address", "127.0.0.1");
                flag(
                    &mut command,
                    "service-account-private-key-file",
                    pki("service-account.key"),
                );
                flag(&mut command, "root-ca-file", pki("ca.crt"));
                flag(&mut command, "use-service-account-credentials", true);
                // The API server is taken away for half a minute, and heartbeats are read anew up
                // to another one later: the only node is not to count as unreachable meanwhile.
                flag(&mut command, "node-monitor-grace-period", "3m");
                flag(&mut command, "leader-elect", false);
            }
            Self::Scheduler => {
                kubeconfig(&mut command, layout, self);
                flag(&mut command, "bind-address", "127.0.0.1");
                flag(&mut command, "leader-elect", false);
            }
            Self::Kubelet => {
                kubeconfig(&mut command, layout, self);
                flag(
                    &mut command,
                    "config",
                    layout.path("config/kubelet.json").display(),
                );
                flag(&mut command, "root-dir", layout.path("kubelet").display());
                flag(&mut command, "hostname-override", NODE_NAME);
                flag(&mut command, "node-ip", NODE_ADDRESS);
            }
            Self::Proxy => {
                kubeconfig(&mut command, layout, self);
                flag(&mut command, "hostname-override", NODE_NAME);
                flag(&mut command, "cluster-cidr", POD_NETWORK);
                flag(&mut command, "proxy-mode", "iptables");
                flag(&mut command, "healthz-bind-address", "127.0.0.1:10256");
                flag(
                    &mut command,
                    "nodeport-addresses",
                    format!("{NODE_ADDRESS}/32"),
                );
                // The machine's own limits stay as they are.
                flag(&mut command, "conntrack-max-per-core", 0);
                flag(&mut command, "conntrack-tcp-timeout-established", "0s");
                flag(&mut command, "conntrack-tcp-timeout-close-wait", "0s");
            }
            Self::Dns => {
                command.arg("-conf").arg(layout.path("config/Corefile"));
            }
            Self::Registry => {
                command.arg("serve").arg(registry::config(layout));
            }
        }
        command
    }

    /// Waits until it serves, where others need it to.
    pub(super) fn wait_until_it_serves(self, layout: &Layout, tools: &Tools) -> anyhow::Result<()> {
        let succeeds = |mut command: Command| shell::output(&mut command).is_some();
        process::wait(layout, self.name(), PATIENCE, || match self {
            Self::Containerd => succeeds(super::images::ctr(layout, tools, &["version"])),
            Self::ApiServer => {
                let mut kubectl = tools.command("kubectl");
                kubectl
                    .arg("--kubeconfig")
                    .arg(layout.kubeconfig("admin"))
                    .args(["get", "--raw", "/readyz"]);
                succeeds(kubectl)
            }
            Self::Kubelet => answers("127.0.0.1:10248"),
            Self::Proxy => answers("127.0.0.1:10256"),
            Self::Scheduler => answers("127.0.0.1:10259"),
            Self::ControllerManager => answers("127.0.0.1:10257"),
            Self::Etcd => answers("127.0.0.1:2379"),
            Self::Dns => answers(&format!("{NODE_ADDRESS}:53")),
            Self::Registry => answers(registry::ADDRESS),
        })
    }
}

fn api_server(command: &mut Command, layout: &Layout) {
    let pki = |file: &str| layout.pki(file).display().to_string();
    flag(command, "etcd-servers", ETCD[0]);
    flag(command, "bind-address", NODE_ADDRESS);
    flag(command, "advertise-address", NODE_ADDRESS);
    flag(command, "secure-port", API_PORT);
    flag(command, "tls-cert-file", pki("kube-apiserver.crt"));
    flag(command, "tls-private-key-file", pki("kube-apiserver.key"));
    flag(command, "client-ca-file", pki("ca.crt"));
    flag(command, "kubelet-certificate-authority", pki("ca.crt"));
    flag(
        command,
        "kubelet-client-certificate",
        pki("kube-apiserver-client.crt"),
    );
    flag(
        command,
        "kubelet-client-key",
        pki("kube-apiserver-client.key"),
    );
    flag(command, "kubelet-preferred-address-types", "InternalIP");
    flag(
        command,
        "service-account-key-file",
        pki("service-account.pub"),
    );
    flag(
        command,
        "service-account-signing-key-file",
        pki("service-account.key"),
    );
    flag(
        command,
        "service-account-issuer",
        "https://kubernetes.default.svc.cluster.local",
    );
    flag(command, "service-cluster-ip-range", SERVICE_NETWORK);
    flag(command, "authorization-mode", "Node,RBAC");
    // As everywhere; Pod Security decides who may.
    flag(command, "allow-privileged", true);
    flag(command, "enable-admission-plugins", "NodeRestriction");
}

fn kubeconfig(command: &mut Command, layout: &Layout, component: Component) {
    let path = layout.kubeconfig(component.name());
    flag(command, "kubeconfig", Path::new(&path).display());
}

fn flag(command: &mut Command, name: &str, value: impl Display) {
    command.arg(format!("--{name}={value}"));
}

/// Whether somebody listens at an address.
fn answers(address: &str) -> bool {
    address.parse().is_ok_and(|address| {
        std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    })
}
