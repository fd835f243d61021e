//! Reports starts from zero: a metric at once, the Function's status when there is
//! time.

use std::time::Duration;

use fermata_crds::{ColdStart, Function, GoDuration, names::GATEWAY_FIELD_MANAGER};
use fermata_daemon::watch::Key;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;

/// How many reports may wait to be written; further ones are dropped, and logged.
const WAITING_REPORTS: usize = 256;

/// How long one report may take to write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// A start from zero.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// The Function.
    pub(crate) function: Key,
    /// What to write in its status.
    pub(crate) start: ColdStart,
}

/// Takes reports.
#[derive(Debug)]
pub(crate) struct Reporter {
    sender: mpsc::Sender<Report>,
}

// === impl Reporter ===

impl Reporter {
    /// A reporter, and the end from which [`write`] takes the reports.
    #[must_use]
    pub(crate) fn new() -> (Self, mpsc::Receiver<Report>) {
        let (sender, receiver) = mpsc::channel(WAITING_REPORTS);
        (Self { sender }, receiver)
    }

    /// Reports a start that began `duration` ago. Never waits: the newest start is not worth a
    /// request's time.
    pub(crate) fn report(&self, function: Key, revision: &str, duration: Duration) {
        let now = Timestamp::now();
        let report = Report {
            function,
            start: ColdStart {
                time: Time(now.checked_sub(duration).unwrap_or(now)),
                duration: GoDuration::from(duration),
                revision: revision.to_owned(),
            },
        };
        if let Err(TrySendError::Full(report)) = self.sender.try_send(report) {
            tracing::debug!(
                function = %report.function,
                "cold start not written to the status: too many others are waiting for that",
            );
        }
    }
}

/// Writes reports to the Functions' statuses, one after the other, until told to stop. A report that
/// cannot be written is given up: the next start writes a newer one.
pub(crate) async fn write(
    client: Client,
    mut reports: mpsc::Receiver<Report>,
    stop: CancellationToken,
) {
    loop {
        let report = tokio::select! {
            report = reports.recv() => report,
            () = stop.cancelled() => return,
        };
        let Some(report) = report else { return };
        let written = tokio::time::timeout(WRITE_TIMEOUT, write_one(&client, &report)).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(
                function = %report.function,
                error = &error as &dyn std::error::Error,
                "cold start not written to the status",
            ),
            Err(_elapsed) => tracing::debug!(
                function = %report.function,
                "cold start not written to the status in time",
            ),
        }
    }
}

async fn write_one(client: &Client, report: &Report) -> kube::Result<()> {
    let functions: Api<Function> = Api::namespaced(client.clone(), &report.function.namespace);
    let patch = json!({
        "apiVersion": "fermata.dev/v1alpha1",
        "kind": "Function",
        "metadata": { "name": &*report.function.name },
        "status": { "lastColdStart": report.start },
    });
    let params = PatchParams::apply(GATEWAY_FIELD_MANAGER).force();
    functions
        .patch_status(&report.function.name, &params, &Patch::Apply(&patch))
        .await?;
    Ok(())
}
