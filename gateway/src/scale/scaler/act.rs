//! Carrying out what was decided for one Revision.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use fermata_crds::names::{DELETION_COST_ANNOTATION, DRAINING_ANNOTATION, GATEWAY_FIELD_MANAGER};
use fermata_daemon::lease::Claim;
use fermata_daemon::watch::Key;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::watchlist::Plan;
use crate::{
    admin::metrics::{Decision, Metrics},
    backend::deployment::DeploymentState,
    scale::{
        drain::Action,
        patch::{self, set_replicas},
    },
};

/// The cost of deleting a marked pod; others cost 0, and the cheapest go first.
const MARKED_COST: &str = "-1000";

/// How long one patch may take.
const PATCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Decisions and the means to carry them out.
pub(super) struct Act {
    pub(super) client: Client,
    pub(super) leader: Claim,
    pub(super) metrics: Arc<Metrics>,
    pub(super) plan: Plan,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot write the scale")]
    Scale(#[from] patch::Error),
    #[error("the API server forbids to mark the pod; the gateway needs the verb patch on pods")]
    Forbidden(#[source] Box<kube::Error>),
    #[error("cannot mark the pod")]
    Mark(#[source] Box<kube::Error>),
    #[error("no answer from the API server within {PATCH_TIMEOUT:?}")]
    Timeout,
}

// === impl Act ===

impl Act {
    /// Carries the decisions out, one after the other. The first that fails ends the rest: what to
    /// do then is decided anew from what is the case then.
    pub(super) async fn run(self) {
        let key = &self.plan.key;
        for action in &self.plan.actions {
            // A gateway that has lost the lease since the decision leaves it to the next one.
            if !self.leader.is_current() {
                break;
            }
            let done = match action {
                Action::Mark(pod) => self.mark(pod, true).await,
                Action::Unmark(pod) => self.mark(pod, false).await,
                Action::Scale(replicas) => self.scale(*replicas).await,
            };
            match done {
                Ok(()) => {}
                Err(Error::Scale(patch::Error::Conflict(_))) => {
                    tracing::debug!(revision = %key, "scale was changed meanwhile; deciding anew");
                    break;
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(revision = %key, error, "cannot scale; trying again");
                    break;
                }
            }
        }
        self.plan.busy.store(false, Ordering::Release);
    }

    async fn scale(&self, replicas: u32) -> Result<(), Error> {
        let Plan { key, seen, .. } = &self.plan;
        if replicas > seen.replicas {
            self.scale_up(key, seen, replicas).await?;
            self.metrics.decided(Decision::Up);
        } else {
            // Whoever wakes the function in this moment wins: the scale is not as it was seen.
            set_replicas(&self.client, key, seen, replicas).await?;
            self.metrics.decided(Decision::Down);
        }
        tracing::info!(revision = %key, from = seen.replicas, to = replicas, "scaled");
        Ok(())
    }

    /// The Deployment's status changes all the time while replicas start, which is no reason not to
    /// ask for more.
    async fn scale_up(
        &self,
        key: &Key,
        seen: &DeploymentState,
        replicas: u32,
    ) -> Result<(), Error> {
        match set_replicas(&self.client, key, seen, replicas).await {
            Err(patch::Error::Conflict(now)) if now.replicas < replicas => {
                Ok(set_replicas(&self.client, key, &now, replicas).await?)
            }
            Err(patch::Error::Conflict(_)) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    async fn mark(&self, pod: &str, draining: bool) -> Result<(), Error> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.plan.key.namespace);
        let time = draining.then(|| Timestamp::now().to_string());
        let cost = draining.then_some(MARKED_COST);
        let patch = Patch::Merge(json!({ "metadata": { "annotations": {
            DRAINING_ANNOTATION: time,
            DELETION_COST_ANNOTATION: cost,
        }}}));
        let params = PatchParams {
            field_manager: Some(GATEWAY_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match tokio::time::timeout(PATCH_TIMEOUT, pods.patch(pod, &params, &patch)).await {
            Ok(Ok(_)) => Ok(()),
            // It has gone by itself.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(()),
            Ok(Err(error)) if is_forbidden(&error) => Err(Error::Forbidden(Box::new(error))),
            Ok(Err(error)) => Err(Error::Mark(Box::new(error))),
            Err(_elapsed) => Err(Error::Timeout),
        }
    }
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}
