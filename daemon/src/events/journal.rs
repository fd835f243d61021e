//! Writing Events, of which only those that say the same are counted as one.
//!
//! kube's recorder takes all Events about an object with one reason for the same, and keeps the text of the
//! first: whoever reads them would be told what happened last with the words of what happened first.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, Recorder, Reporter},
};
use tokio::time::Instant;

/// How long after the last time something counts as happening again; as long as kube's recorder
/// remembers it.
const REMEMBERED: Duration = Duration::from_secs(6 * 60);

/// How many different texts about one object with one reason are written in that time, so that a text
/// which is never the same twice fills no API server. The kubelet's limit for one object.
const MOST_TEXTS: usize = 25;

/// How many texts are remembered. Beyond, the oldest is forgotten, and would be written as a new Event.
const MOST_REMEMBERED: usize = 4096;

/// Writes Events.
pub struct Journal {
    client: Client,
    reporter: Reporter,
    told: Mutex<HashMap<Text, Written>>,
}

/// What makes two Events the same.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Text {
    uid: Option<String>,
    name: Option<String>,
    reason: String,
    note: Option<String>,
}

/// The recorder that knows the Event of one text.
struct Written {
    recorder: Recorder,
    last: Instant,
}

// === impl Journal ===

impl Journal {
    /// A journal of this reporter, which remembers nothing yet.
    #[must_use]
    pub fn new(client: Client, reporter: Reporter) -> Self {
        Self {
            client,
            reporter,
            told: Mutex::default(),
        }
    }

    /// Writes an Event about an object, or counts one more of the Event that says the same. One text too
    /// many about the same object is not written.
    ///
    /// # Errors
    ///
    /// What the API server says when it does not take the Event.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether the Event was written.
    pub async fn publish(&self, event: &Event, about: &ObjectReference) -> kube::Result<()> {
        let text = Text {
            uid: about.uid.clone(),
            name: about.name.clone(),
            reason: event.reason.clone(),
            note: event.note.clone(),
        };
        match self.recorder(text) {
            Some(recorder) => recorder.publish(event, about).await,
            None => Ok(()),
        }
    }

    fn recorder(&self, text: Text) -> Option<Recorder> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        told.retain(|_, told| now.duration_since(told.last) < REMEMBERED);
        if let Some(told) = told.get_mut(&text) {
            told.last = now;
            return Some(told.recorder.clone());
        }
        let alike = told
            .keys()
            .filter(|other| other.uid == text.uid && other.reason == text.reason);
        if alike.count() >= MOST_TEXTS {
            return None;
        }
        if told.len() >= MOST_REMEMBERED {
            let oldest = told.iter().min_by_key(|(_, told)| told.last);
            if let Some(oldest) = oldest.map(|(text, _)| text.clone()) {
                told.remove(&oldest);
            }
        }
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        let new = Written {
            recorder: recorder.clone(),
            last: now,
        };
        told.insert(text, new);
        Some(recorder)
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use http::{Method, Request, Response};
    use kube::{
        client::Body,
        runtime::events::{EventType, Reporter},
    };

    use super::*;

    /// A journal, and the methods of the requests that it makes.
    fn journal() -> (Journal, Arc<Mutex<Vec<Method>>>) {
        let seen = Arc::<Mutex<Vec<Method>>>::default();
        let writes = Arc::clone(&seen);
        let server = tower::service_fn(move |request: Request<Body>| {
            let (parts, body) = request.into_parts();
            writes.lock().expect("no panic").push(parts.method);
            async move { Ok::<_, Infallible>(Response::new(body)) }
        });
        let client = Client::new(server, "default");
        (Journal::new(client, Reporter::from("test")), seen)
    }

    async fn publish(journal: &Journal, note: &str) {
        let event = Event {
            type_: EventType::Normal,
            reason: "Made".into(),
            note: Some(note.to_owned()),
            action: "Make".into(),
            secondary: None,
        };
        let about = ObjectReference {
            name: Some("hello".into()),
            namespace: Some("default".into()),
            uid: Some("1".into()),
            ..ObjectReference::default()
        };
        journal.publish(&event, &about).await.expect("it is taken");
    }

    #[tokio::test]
    async fn what_says_the_same_is_counted_and_what_does_not_is_an_event_of_its_own() {
        let (journal, seen) = journal();
        for note in ["one", "two", "one", "two"] {
            publish(&journal, note).await;
        }
        let methods = seen.lock().expect("no panic").clone();
        assert_eq!(
            methods,
            [Method::POST, Method::POST, Method::PATCH, Method::PATCH]
        );
    }

    #[tokio::test]
    async fn a_text_that_is_never_the_same_is_written_only_so_often() {
        let (journal, seen) = journal();
        for number in 0..2 * MOST_TEXTS {
            publish(&journal, &number.to_string()).await;
        }
        assert_eq!(seen.lock().expect("no panic").len(), MOST_TEXTS);
        // What was told before still counts.
        publish(&journal, "0").await;
        assert_eq!(seen.lock().expect("no panic").last(), Some(&Method::PATCH));
    }
}
