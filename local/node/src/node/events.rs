//! Events of pods, written in the background so that no container waits for them.

use std::sync::Arc;

use fermata_daemon::events::Journal;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Client, Resource as _,
    runtime::events::{Event, EventType, Reporter},
};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

/// Events that wait to be written; beyond that they are dropped, as they are a help and no record.
const WAITING: usize = 256;

/// Writes events about pods.
#[derive(Clone)]
pub(super) struct Events {
    journal: Arc<Journal>,
    sender: mpsc::Sender<(Event, k8s_openapi::api::core::v1::ObjectReference)>,
    receiver: Arc<Mutex<mpsc::Receiver<(Event, k8s_openapi::api::core::v1::ObjectReference)>>>,
}

// === impl Events ===

impl Events {
    pub(super) fn new(client: Client) -> Self {
        let reporter = Reporter {
            controller: "kubelet".to_owned(),
            instance: Some(crate::NODE_NAME.to_owned()),
        };
        let (sender, receiver) = mpsc::channel(WAITING);
        Self {
            journal: Arc::new(Journal::new(client, reporter)),
            sender,
            receiver: Arc::new(Mutex::new(receiver)),
        }
    }

    /// Something went as it should.
    pub(super) fn normal(&self, pod: &Pod, reason: &str, note: String) {
        self.send(pod, EventType::Normal, reason, note);
    }

    /// Something went wrong.
    pub(super) fn warning(&self, pod: &Pod, reason: &str, note: String) {
        self.send(pod, EventType::Warning, reason, note);
    }

    /// Writes what comes until the shutdown.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        let mut receiver = self.receiver.lock().await;
        while let Some(Some((event, pod))) = shutdown.run_until_cancelled(receiver.recv()).await {
            if let Err(error) = self.journal.publish(&event, &pod).await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "an event was not written"
                );
            }
        }
    }

    fn send(&self, pod: &Pod, type_: EventType, reason: &str, mut note: String) {
        // The API takes notes of at most 1 KiB.
        while note.len() > 1024 {
            note.pop();
        }
        let action = reason.to_owned();
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action,
            secondary: None,
        };
        if self.sender.try_send((event, pod.object_ref(&()))).is_err() {
            tracing::debug!(reason, "an event was dropped, too many are waiting");
        }
    }
}
