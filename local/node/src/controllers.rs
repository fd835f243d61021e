//! The controllers that Fermata's objects need of a cluster.

mod controller;
mod deployment;
mod garbage;
mod kinds;
mod namespace;
mod replica_set;
mod rollout;
mod slim;

use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Why a reconcile of an object failed. The object is tried again after a pause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API refused a read or a write.
    #[error("the API refused to {what}")]
    Api {
        /// What was tried.
        what: &'static str,
        /// What the API said.
        source: Box<kube::Error>,
    },
    /// An object cannot be read or written as JSON.
    #[error("an object cannot be converted")]
    Json(#[from] serde_json::Error),
}

/// Deployments, ReplicaSets, garbage collection and namespaces.
pub struct Controllers {
    client: Client,
}

// === impl Controllers ===

impl Controllers {
    /// Controllers that have yet to be started.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Runs all controllers until the shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut tasks = JoinSet::new();
        tasks.spawn(deployment::run(self.client.clone(), shutdown.clone()));
        tasks.spawn(replica_set::run(self.client.clone(), shutdown.clone()));
        tasks.spawn(garbage::run(self.client.clone(), shutdown.clone()));
        tasks.spawn(namespace::run(self.client, shutdown));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a controller failed"
                );
            }
        }
    }
}

/// Names what was tried in an error of the API.
fn api(what: &'static str) -> impl FnOnce(kube::Error) -> Error {
    move |source| Error::Api {
        what,
        source: Box::new(source),
    }
}

/// Whether the API said that the object is not there (any more), or is another one by now: for a
/// controller that wanted to change it, nothing is left to do.
fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409))
}
