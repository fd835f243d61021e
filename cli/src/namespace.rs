//! The namespace that something is deployed to.

use anyhow::bail;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};

/// Fails if the namespace is not there. Not everybody may look, and who may not is told later.
///
/// # Errors
///
/// With the way out.
pub(crate) async fn check(client: &Client, name: &str) -> anyhow::Result<()> {
    let namespaces = Api::<Namespace>::all(client.clone());
    if let Ok(None) = namespaces.get_metadata_opt(name).await {
        bail!("there is no namespace {name}; {}", way_out(name));
    }
    Ok(())
}

/// What to do where there is no such namespace, as a part of a sentence.
pub(crate) fn way_out(name: &str) -> String {
    format!("make it with `kubectl create namespace {name}`, or name another one with -n")
}
