//! Writing a Deployment's scale.

use std::time::Duration;

use fermata_crds::names::GATEWAY_FIELD_MANAGER;
use fermata_daemon::watch::Key;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::backend::deployment::DeploymentState;

/// How long one call of the API may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a scale was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The Deployment is not as it was when the decision was made. Its state now is enclosed.
    #[error("the deployment has changed since the decision")]
    Conflict(DeploymentState),
    /// The Deployment does not exist.
    #[error("the deployment does not exist")]
    Missing,
    /// The API server did not answer in time.
    #[error("no answer from the API server within {CALL_TIMEOUT:?}")]
    Timeout,
    /// The gateway has no right to, or a policy forbids it.
    #[error(
        "the API server forbids to write the scale; the gateway needs the verbs get and patch on \
         deployments/scale, and no policy against it"
    )]
    Forbidden(#[source] Box<kube::Error>),
    /// The API server refused.
    #[error("the API server refuses to write the scale")]
    Refused(#[source] Box<kube::Error>),
    /// The API server gave no answer.
    #[error("cannot reach the API server to write the scale")]
    Unreachable(#[source] Box<kube::Error>),
}

// === impl Error ===

impl Error {
    fn of(error: kube::Error) -> Self {
        match code(&error) {
            Some(404) => Self::Missing,
            Some(403) => Self::Forbidden(Box::new(error)),
            Some(_) => Self::Refused(Box::new(error)),
            None => Self::Unreachable(Box::new(error)),
        }
    }
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
pub(crate) async fn set_replicas(
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
        Err(Error::Refused(error)) if code(&error) == Some(409) => {
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
        Ok(Err(error)) => Err(Error::of(error)),
        Err(_elapsed) => Err(Error::Timeout),
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn answer(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(Status {
            code,
            ..Status::default()
        }))
    }

    #[test]
    fn only_who_lacks_a_right_is_told_of_rights() {
        let away = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let messages = [
            answer(403),
            answer(500),
            kube::Error::Service(Box::new(away)),
        ];
        let [forbidden, refused, away] = messages.map(|error| Error::of(error).to_string());
        assert!(forbidden.contains("verbs get and patch"), "{forbidden}");
        assert!(!refused.contains("verbs"), "{refused}");
        assert_eq!(away, "cannot reach the API server to write the scale");
        assert!(matches!(Error::of(answer(404)), Error::Missing));
    }
}
