//! How the gateway comes to its end.

use std::time::Duration;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::proxy::server;

/// How long clients whose requests are refused at the end have to read why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The stages of the gateway's end, in the order they come.
#[derive(Clone, Debug, Default)]
pub(super) struct ShutdownStages {
    /// Clients are asked to go elsewhere, and then connections end.
    pub(super) serving: server::Shutdown,
    /// Waiting requests are sent away.
    pub(super) dismiss: CancellationToken,
    /// Everything is cut.
    pub(super) abort: CancellationToken,
    /// What serves the requests ends: watches, wakes, the autoscaler, the admin listener.
    pub(super) background: CancellationToken,
}

/// The owners of tasks whose number is not fixed.
#[derive(Clone, Debug, Default)]
pub(super) struct Trackers {
    pub(super) connections: TaskTracker,
    pub(super) tunnels: TaskTracker,
    pub(super) background: TaskTracker,
}

/// Lets running requests finish, then sends waiting ones away, then cuts what is left.
pub(super) async fn drain(stages: &ShutdownStages, trackers: &Trackers, timeout: Duration) {
    stages.serving.stop.cancel();
    let finished = async {
        trackers.connections.close();
        trackers.connections.wait().await;
        trackers.tunnels.close();
        trackers.tunnels.wait().await;
    };
    let mut finished = std::pin::pin!(finished);
    if tokio::time::timeout(timeout, finished.as_mut())
        .await
        .is_ok()
    {
        return;
    }
    tracing::warn!(
        connections = trackers.connections.len(),
        tunnels = trackers.tunnels.len(),
        "drain timeout is over; cutting what is left",
    );
    stages.dismiss.cancel();
    if tokio::time::timeout(LAST_WORDS, finished.as_mut())
        .await
        .is_err()
    {
        stages.abort.cancel();
        finished.await;
    }
}
