//! The columns of nodes.

use k8s_openapi::api::core::v1::{Node, NodeSystemInfo};
use serde_json::Value;

use super::{
    Columns,
    cells::{age, join, or_none, or_unknown, text, wide},
};

pub(crate) fn node() -> Columns {
    Columns::named::<Node>(vec![
        text("Status", status),
        text("Roles", roles),
        age(),
        text("Version", |node| {
            info(node).map(|info| info.kubelet_version.as_str()).into()
        }),
        wide("Internal-IP", |node| address(node, "InternalIP")),
        wide("External-IP", |node| address(node, "ExternalIP")),
        wide("OS-Image", |node| {
            or_unknown(info(node).map(|info| info.os_image.as_str()))
        }),
        wide("Kernel-Version", |node| {
            or_unknown(info(node).map(|info| info.kernel_version.as_str()))
        }),
        wide("Container-Runtime", |node| {
            or_unknown(info(node).map(|info| info.container_runtime_version.as_str()))
        }),
    ])
}

fn info(node: &Node) -> Option<&NodeSystemInfo> {
    node.status.as_ref()?.node_info.as_ref()
}

fn status(node: &Node) -> Value {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "Ready");
    let mut status = match ready.map(|condition| condition.status.as_str()) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    let unschedulable = node.spec.as_ref().and_then(|spec| spec.unschedulable);
    if unschedulable == Some(true) {
        status.push_str(",SchedulingDisabled");
    }
    status.into()
}

fn roles(node: &Node) -> Value {
    let labels = node.metadata.labels.iter().flatten();
    let roles = labels.filter_map(|(label, _)| label.strip_prefix("node-role.kubernetes.io/"));
    or_none(Some(&join(roles.map(str::to_owned))))
}

fn address(node: &Node, type_: &str) -> Value {
    let addresses = node.status.as_ref().and_then(|s| s.addresses.as_ref());
    let found = addresses
        .into_iter()
        .flatten()
        .find(|address| address.type_ == type_);
    or_none(found.map(|address| address.address.as_str()))
}
