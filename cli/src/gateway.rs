//! The gateway of the cluster, and the ways to it.

pub(crate) mod call;
pub(crate) mod owner;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use tokio::io::{AsyncRead, AsyncWrite};

/// What to do where the gateway cannot be found.
const HINT: &str = "name the gateway with --gateway";

/// The labels that the Helm chart gives to the gateway's pods.
const GATEWAY_PODS: &str = "app.kubernetes.io/name=fermata,app.kubernetes.io/component=gateway";

/// The port on which those pods take requests.
const GATEWAY_PORT: u16 = 8081;

/// A connection to a gateway, whichever way it takes.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// One of the gateway's pods that is ready.
///
/// # Errors
///
/// When nobody may look for them.
pub(crate) async fn pod(client: &Client) -> anyhow::Result<Option<Pod>> {
    let pods = Api::<Pod>::all(client.clone())
        .list(&ListParams::default().labels(GATEWAY_PODS))
        .await
        .with_context(|| format!("cannot look for the gateway's pods; {HINT}"))?;
    let ready = |pod: &Pod| {
        let status = pod.status.iter();
        status
            .flat_map(|status| status.conditions.iter().flatten())
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    Ok(pods.items.into_iter().find(ready))
}

/// A connection to a pod of the gateway, through the API server.
///
/// # Errors
///
/// When the cluster gives none.
pub(crate) async fn forward(
    client: &Client,
    pod: &Pod,
) -> anyhow::Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>> {
    let api = Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let mut forwarder = api
        .portforward(&pod.name_any(), &[GATEWAY_PORT])
        .await
        .with_context(|| format!("cannot reach the gateway through the cluster; {HINT}"))?;
    forwarder
        .take_stream(GATEWAY_PORT)
        .context("the cluster gave no connection to the gateway")
}
