//! Kubernetes Events: what happened to an object, once for each change.

use std::sync::Arc;

use fermata_crds::conditions::shortened;
use fermata_daemon::events::Journal;
use fermata_daemon::lease::Claim;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Reporter},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::metrics::Metrics;

/// How many events may wait to be written; further ones are counted and dropped.
const CAPACITY: usize = 1024;

/// The longest note the Events API takes, in bytes.
const LONGEST_NOTE: usize = 1024;

/// Something worth telling about an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct News {
    pub(crate) warning: bool,
    pub(crate) reason: String,
    pub(crate) action: &'static str,
    pub(crate) note: String,
}

/// Takes events without ever waiting.
#[derive(Clone)]
pub(crate) struct Announcer {
    sender: mpsc::Sender<(ObjectReference, News)>,
    metrics: Arc<Metrics>,
}

/// Writes the events that the announcer took.
pub(crate) struct Scribe {
    receiver: mpsc::Receiver<(ObjectReference, News)>,
    journal: Journal,
    claim: Claim,
    metrics: Arc<Metrics>,
}

/// Makes the two ends of the queue.
pub(crate) fn channel(
    client: Client,
    identity: String,
    claim: Claim,
    metrics: Arc<Metrics>,
) -> (Announcer, Scribe) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let reporter = Reporter {
        controller: fermata_crds::names::OPERATOR_FIELD_MANAGER.to_owned(),
        instance: Some(identity),
    };
    let announcer = Announcer {
        sender,
        metrics: metrics.clone(),
    };
    let scribe = Scribe {
        receiver,
        journal: Journal::new(client, reporter),
        claim,
        metrics,
    };
    (announcer, scribe)
}

// === impl Announcer ===

impl Announcer {
    pub(crate) fn announce(&self, about: &ObjectReference, news: News) {
        if self.sender.try_send((about.clone(), news)).is_err() {
            self.metrics.event_dropped();
        }
    }
}

// === impl Scribe ===

impl Scribe {
    /// Writes events until the shutdown. Events are best effort: what cannot be written is logged
    /// and forgotten.
    pub(crate) async fn run(mut self, shutdown: &CancellationToken) {
        while let Some(Some((about, news))) =
            shutdown.run_until_cancelled(self.receiver.recv()).await
        {
            if !self.claim.is_current() {
                continue;
            }
            self.metrics.wrote("Event");
            let event = Event {
                type_: if news.warning {
                    EventType::Warning
                } else {
                    EventType::Normal
                },
                reason: news.reason,
                note: Some(shortened(&news.note, LONGEST_NOTE).into_owned()),
                action: news.action.to_owned(),
                secondary: None,
            };
            if let Err(error) = self.journal.publish(&event, &about).await {
                debug!(
                    kind = about.kind,
                    namespace = about.namespace,
                    name = about.name,
                    reason = event.reason,
                    error = &error as &dyn std::error::Error,
                    "cannot record an event"
                );
            }
        }
    }
}
