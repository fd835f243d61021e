//! Writing a Deployment's scale.

use std::time::Duration;

use fermata_crds::names::GATEWAY_FIELD_MANAGER;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::state::{deployment::DeploymentState, key::Key};

/// How long one call of the API may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a scale was not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Deployment is not as it was when the decision was made. Its state now is enclosed.
    #[error("the deployment has changed since the decision")]
    Conflict(DeploymentState),
    /// The Deployment does not exist.
    #[error("the deployment does not exist")]
    Missing,
    /// The API server did not answer in time.
    #[error("no answer from the API server within {CALL_TIMEOUT:?}")]
    Timeout,
    /// The API server refused, or cannot be reached.
    #[error("cannot write the scale; the gateway needs the verb patch on deployments/scale")]
    Api(#[source] Box<kube::Error>),
}

/// Sets the replicas of a Deployment that is as it was seen.
///
/// # Errors
///
/// [`Error::Conflict`] if somebody else has written since; decide again with what it holds.
///
/// # Cancel safety
///
/// If the future is dropped, the scale may or may not have been written.
pub async fn set_replicas(
    client: &Client,
    key: &Key,
    seen: &DeploymentState,
    replicas: u32,
) -> Result<(), Error> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &key.namespace);
    let patch = json!({
        "metadata": { "resourceVersion": &*seen.resource_version },
        "spec": { "replicas": replicas },
    });
    let params = PatchParams {
        field_manager: Some(GATEWAY_FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(&patch);
    let write = deployments.patch_scale(&key.name, &params, &patch);
    match bounded(write).await {
        Err(Error::Api(error)) if code(&error) == Some(409) => {
            let scale = bounded(deployments.get_scale(&key.name)).await?;
            let replicas = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
            Err(Error::Conflict(DeploymentState {
                replicas: u32::try_from(replicas).unwrap_or(0),
                resource_version: scale.metadata.resource_version.unwrap_or_default().into(),
                failure: seen.failure.clone(),
                overdue: seen.overdue.clone(),
            }))
        }
        Err(error) => Err(error),
        Ok(_scale) => Ok(()),
    }
}

/// Awaits a call of the API, but not forever.
async fn bounded<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if code(&error) == Some(404) => Err(Error::Missing),
        Ok(Err(error)) => Err(Error::Api(Box::new(error))),
        Err(_elapsed) => Err(Error::Timeout),
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
