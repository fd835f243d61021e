//! Under which hosts and paths a function answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Under which hosts and paths, and to whom, a function answers. A function always answers under
/// its own in-cluster name, NAME.NAMESPACE.svc.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expose {
    /// Who may call: Public, or Cluster for callers in the cluster only, which have a listener of the
    /// gateway for themselves. Default: Public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,

    /// Further hosts that lead to the function, such as orders.example.com. Where two functions
    /// ask for the same host, the older one has it. Names of functions, addresses and the gateway's own
    /// hosts are not to be had, and the installation may grant others to some namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,

    /// A path that leads to the function on every host that no function owns, such as /api/orders, with
    /// all paths below it. The function sees the whole path. Where two functions ask for the same
    /// path, the older one has it; the installation may grant paths to some namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Who may call: Public, or Cluster for callers in the cluster only. Default: Public.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Visibility {
    /// Everyone who reaches the gateway.
    #[default]
    Public,
    /// Callers that come to the gateway's listener for the cluster.
    Cluster,
}

// === impl Expose ===

impl Expose {
    /// Who may call.
    #[must_use]
    pub fn visibility(&self) -> Visibility {
        self.visibility.unwrap_or_default()
    }

    /// Further hosts that lead to the function.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        self.hosts.as_deref().unwrap_or_default()
    }
}
