//! Paths and objects that several tests begin with.

use serde_json::{Value, json};

pub(crate) const PODS: &str = "/api/v1/namespaces/~/pods";
pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/~/configmaps";
pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/~/deployments";

/// A Deployment of one pod.
pub(crate) fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "a"}}, "template": {
            "metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "image": "i:1"}]},
        }},
    })
}
