//! A bounded queue of Events to be written, so that nobody waits for them.

use fermata_crds::conditions::shortened;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Reporter},
};
use prometheus::IntCounter;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Journal;
use crate::lease::Claim;

/// How many Events may wait to be written; further ones are counted and dropped.
const CAPACITY: usize = 1024;

/// The longest note the Events API takes, in bytes.
const LONGEST_NOTE: usize = 1024;

/// What happened to an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EventNote {
    /// Whether something is wrong.
    pub warning: bool,
    /// Why, in one word, for programs.
    pub reason: String,
    /// What was done.
    pub action: &'static str,
    /// The sentence, for people. One of more than 1024 bytes is cut short.
    pub note: String,
}

/// Takes Events without ever waiting.
#[derive(Clone, Debug)]
pub struct EventSender {
    sender: mpsc::Sender<(ObjectReference, EventNote)>,
    dropped: IntCounter,
}

/// Writes the Events that the senders took.
pub struct EventWriter {
    receiver: mpsc::Receiver<(ObjectReference, EventNote)>,
    journal: Journal,
    claim: Claim,
    written: IntCounter,
}

/// What is counted about Events.
#[derive(Clone, Debug)]
pub struct EventCounters {
    /// Those that are written.
    pub written: IntCounter,
    /// Those that found no room.
    pub dropped: IntCounter,
}

/// Makes the two ends of the queue. Events are written as those of this reporter, while the claim holds.
#[must_use]
pub fn channel(
    client: Client,
    reporter: Reporter,
    claim: Claim,
    counters: EventCounters,
) -> (EventSender, EventWriter) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let EventCounters { written, dropped } = counters;
    let writer = EventWriter {
        receiver,
        journal: Journal::new(client, reporter),
        claim,
        written,
    };
    (EventSender { sender, dropped }, writer)
}

// === impl EventSender ===

impl EventSender {
    /// Has an Event written about an object.
    pub fn send(&self, about: &ObjectReference, note: EventNote) {
        if self.sender.try_send((about.clone(), note)).is_err() {
            self.dropped.inc();
        }
    }
}

// === impl EventWriter ===

impl EventWriter {
    /// Writes Events until the shutdown. Events are best effort: what cannot be written is logged
    /// and forgotten.
    pub async fn run(mut self, shutdown: &CancellationToken) {
        while let Some(Some((about, note))) =
            shutdown.run_until_cancelled(self.receiver.recv()).await
        {
            if !self.claim.is_current() {
                continue;
            }
            self.written.inc();
            let event = Event::from(note);
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

// === impl EventNote ===

impl From<EventNote> for Event {
    fn from(note: EventNote) -> Self {
        Self {
            type_: if note.warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: note.reason,
            note: Some(shortened(&note.note, LONGEST_NOTE).into_owned()),
            action: note.action.to_owned(),
            secondary: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::client::Body;

    use super::*;

    fn note() -> EventNote {
        EventNote {
            warning: false,
            reason: "Made".to_owned(),
            action: "Make",
            note: "ä".repeat(LONGEST_NOTE),
        }
    }

    #[test]
    fn a_note_is_as_long_as_the_api_takes_it() {
        let event = Event::from(note());
        assert!(event.note.is_some_and(|note| note.len() <= LONGEST_NOTE));
    }

    #[tokio::test]
    async fn what_finds_no_room_is_counted() {
        let api = tower::service_fn(|request: Request<Body>| async move {
            Ok::<_, Infallible>(Response::new(request.into_body()))
        });
        let counters = EventCounters {
            written: IntCounter::new("written", "written").unwrap(),
            dropped: IntCounter::new("dropped", "dropped").unwrap(),
        };
        let client = Client::new(api, "default");
        let reporter = Reporter::from("test");
        let (sender, writer) = channel(client, reporter, Claim::always(), counters.clone());
        for _ in 0..CAPACITY + 3 {
            sender.send(&ObjectReference::default(), note());
        }
        assert_eq!(counters.dropped.get(), 3);
        drop(sender);
        writer.run(&CancellationToken::new()).await;
        assert_eq!(counters.written.get(), CAPACITY as u64);
    }
}
