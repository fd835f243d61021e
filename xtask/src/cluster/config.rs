//! The configuration files of the components.

use std::{fs, path::Path};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::layout::{API_PORT, INTERFACE, Layout, NODE_ADDRESS, POD_NETWORK};

/// Who has a kubeconfig.
const USERS: [&str; 6] = [
    "admin",
    "coredns",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
];

/// Writes all of them. JSON is YAML, for those that read YAML.
pub(super) fn write(layout: &Layout) -> anyhow::Result<()> {
    for user in USERS {
        write_json(&layout.kubeconfig(user), &kubeconfig(layout, user))?;
    }
    write_json(&layout.path("config/kubelet.json"), &kubelet(layout))?;
    write_json(
        &layout.path("config/cni/10-pods.conflist"),
        &pod_network(layout),
    )?;
    write_text(&layout.path("config/containerd.toml"), &containerd(layout))?;
    super::registry::allow(layout)?;
    write_text(&layout.path("config/Corefile"), &corefile(layout))
}

fn kubeconfig(layout: &Layout, user: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "fermata-test",
        "clusters": [{"name": "fermata-test", "cluster": {
            "server": format!("https://{NODE_ADDRESS}:{API_PORT}"),
            "certificate-authority": layout.pki("ca.crt"),
        }}],
        "users": [{"name": user, "user": {
            "client-certificate": layout.pki(&format!("{user}.crt")),
            "client-key": layout.pki(&format!("{user}.key")),
        }}],
        "contexts": [{"name": "fermata-test", "context": {"cluster": "fermata-test", "user": user}}],
    })
}

fn kubelet(layout: &Layout) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS, "healthzBindAddress": "127.0.0.1", "readOnlyPort": 0,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": layout.pki("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": layout.pki("kubelet.crt"), "tlsPrivateKeyFile": layout.pki("kubelet.key"),
        "containerRuntimeEndpoint": format!("unix://{}", layout.socket("containerd.sock").display()),
        "clusterDNS": [NODE_ADDRESS], "clusterDomain": "cluster.local",
        // What machines without systemd have: hierarchies of version 1, and swap maybe.
        "cgroupDriver": "cgroupfs", "failCgroupV1": false, "enforceNodeAllocatable": [],
        "failSwapOn": false,
        // The disk is shared with builds: pods are not to be evicted because of those, nor images.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "maxPods": 250, "serializeImagePulls": false,
        // Ten cold starts at once are not to wait for the client's own limit.
        "kubeAPIQPS": 100, "kubeAPIBurst": 200,
    })
}

/// A link of its own for each pod. The node is the router between them.
fn pod_network(layout: &Layout) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": INTERFACE,
        "plugins": [
            {
                "type": "ptp", "ipMasq": false,
                "ipam": {
                    "type": "host-local", "dataDir": layout.path("cni"),
                    "ranges": [[{"subnet": POD_NETWORK}]], "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

fn containerd(layout: &Layout) -> String {
    format!(
        r#"version = 3
root = {root:?}
state = {state:?}

[grpc]
  address = {socket:?}

[ttrpc]
  address = {ttrpc:?}

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = {registries:?}

[plugins."io.containerd.cri.v1.runtime"]
  # A process without CAP_SYS_RESOURCE cannot lower the score.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = {cni:?}
"#,
        root = layout.path("containerd/root"),
        state = layout.socket("containerd"),
        socket = layout.socket("containerd.sock"),
        ttrpc = layout.socket("containerd.sock.ttrpc"),
        registries = layout.path(super::registry::HOSTS),
        cni = layout.path("config/cni"),
        pause = super::images::PAUSE,
    )
}

fn corefile(layout: &Layout) -> String {
    format!(
        "cluster.local:53 in-addr.arpa:53 {{
    bind {NODE_ADDRESS}
    errors
    cache 5
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {}
        ttl 5
    }}
}}
",
        layout.kubeconfig("coredns").display()
    )
}

fn write_json(path: &Path, value: &Value) -> anyhow::Result<()> {
    write_text(path, &format!("{value:#}\n"))
}

fn write_text(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
