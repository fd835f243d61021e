//! A call whose caller does not wait for the answer: what is to be called, and what became of it.

mod callback;
mod dead_letter;
mod ended;

use std::time::Duration;

use bytes::Bytes;
use fermata_crds::Delivery;
use fermata_daemon::watch::Key;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::Id;

pub(crate) use callback::Callback;
pub(crate) use dead_letter::Burial;
pub(crate) use ended::{Ended, Left};

/// How long it is known what became of a call.
pub(crate) const KEPT: Duration = Duration::from_secs(3600);

/// How long that is known of a call that has failed, and what was sent: it can be tried anew.
pub(crate) const KEPT_FAILED: Duration = Duration::from_secs(7 * 24 * 3600);

/// The longest wait that a function can ask for by `Retry-After`.
pub(crate) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// About as many bytes as what is known of a call takes.
pub(crate) const RECORD: usize = 1024;

/// What is known of a call, without what is sent and what was answered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Invocation {
    /// Namespace of the function.
    pub(crate) namespace: Box<str>,
    /// Its name.
    pub(crate) function: Box<str>,
    /// Its uid: a later function of the same name is not called.
    pub(crate) uid: Box<str>,
    /// What it hears, if this is a message of a topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) heard: Option<Heard>,
    /// Where the call came in; what has become of it is told there alone.
    pub(crate) entrance: Entrance,
    /// When it was accepted.
    pub(crate) accepted_at: Timestamp,
    /// How often, and for how long, it is tried: as the function said when it was accepted.
    pub(crate) delivery: Delivery,
    /// The key by which the caller makes it once, and a digest of what was sent with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) idempotency: Option<Idempotency>,
    /// What became of it, while somebody has yet to be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Ended>,
    /// How its publication stands, once it has failed and is to be published (`spec.delivery.deadLetter`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) burial: Option<Burial>,
    /// Who is told what became of it, if somebody is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) callback: Option<Callback>,
    /// How much room it takes, in bytes.
    pub(crate) bytes: u64,
    /// How it stands.
    pub(crate) state: State,
    /// How often the function has received it.
    pub(crate) attempts: u32,
    /// Attempts in a row that have reached no function.
    #[serde(default)]
    pub(crate) misses: u32,
    /// How often in a row the function was not there.
    #[serde(default)]
    pub(crate) gone: u32,
    /// Not before this time is it tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_attempt_at: Option<Timestamp>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) finished_at: Option<Timestamp>,
    /// Status of the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<u16>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

/// Which trigger of a function a message is for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Heard {
    /// Name of the topic.
    pub(crate) topic: Box<str>,
    /// Name of the trigger.
    pub(crate) trigger: Box<str>,
    /// The topic that hears what is answered, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Box<str>>,
    /// How many functions have answered, one to the other, before this message was published.
    #[serde(default)]
    pub(crate) hops: u32,
    /// Where it stands among those of which one is delivered after the other, if the trigger wants that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Place>,
    /// With which others it is delivered, if the trigger wants several at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batch: Option<Batch>,
}

/// Messages that one trigger of a function gets together.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Batch {
    /// Which ones.
    pub(crate) group: Box<str>,
    /// How many at most.
    pub(crate) size: u32,
    /// How long one waits for others, in milliseconds.
    pub(crate) wait: u64,
}

/// A place in a line of calls of a function, of which one is made after the other.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Place {
    /// Which line.
    pub(crate) line: Box<str>,
    /// The order in it. The store gives it when it accepts the call.
    pub(crate) number: u64,
}

/// Where a call came in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Entrance {
    /// From anywhere.
    Public,
    /// From inside the cluster.
    Internal,
}

/// How a call stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub(crate) enum State {
    /// It waits for its first or its next attempt, or is being made.
    Waiting,
    /// The function has answered with a status below 400.
    Succeeded,
    /// It is tried no more.
    Failed,
    /// Somebody has called it off.
    Cancelled,
}

/// How a call stands, as it is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// It waits for its first or its next attempt.
    Waiting,
    /// It is being made.
    Running,
    /// The function has answered with a status below 400.
    Succeeded,
    /// It is tried no more.
    Failed,
    /// Somebody has called it off.
    Cancelled,
}

/// What makes a call the same as an earlier one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Idempotency {
    /// Digest of `Idempotency-Key` and of whose it is.
    pub(crate) key: Box<str>,
    /// SHA-256 of method, target and body, in hexadecimal digits.
    pub(crate) digest: Box<str>,
}

/// What is sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Call {
    /// Method and target with its query, and the headers that are for the function.
    pub(crate) head: CallHead,
    /// The body.
    pub(crate) body: Bytes,
}

/// What is sent before the body.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct CallHead {
    /// The method.
    pub(crate) method: Box<str>,
    /// The path with its query.
    pub(crate) target: Box<str>,
    /// Names and values.
    pub(crate) headers: Fields,
}

/// What was answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    /// Status and headers.
    pub(crate) head: AnswerHead,
    /// The body.
    pub(crate) body: Bytes,
}

/// What was answered before the body.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct AnswerHead {
    /// The status.
    pub(crate) status: u16,
    /// Names and values.
    pub(crate) headers: Fields,
    /// Whether the body was too large to be kept.
    #[serde(default)]
    pub(crate) cut: bool,
}

/// Header fields: names, and values of which each character is one byte.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Fields(Vec<(Box<str>, Box<str>)>);

/// A call that is to be made now.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    /// Its name.
    pub(crate) id: Id,
    /// What is known of it.
    pub(crate) invocation: Invocation,
    /// What is sent.
    pub(crate) call: Call,
}

// === impl Invocation ===

impl Invocation {
    /// One that waits for its first attempt, accepted now, of which nothing but this is known.
    #[must_use]
    pub(crate) fn new(
        function: &Key,
        uid: &str,
        (entrance, now): (Entrance, Timestamp),
        delivery: Delivery,
    ) -> Self {
        Self {
            namespace: function.namespace.clone(),
            function: function.name.clone(),
            uid: uid.into(),
            heard: None,
            entrance,
            accepted_at: now,
            delivery,
            idempotency: None,
            ended: None,
            burial: None,
            callback: None,
            bytes: 0,
            state: State::Waiting,
            attempts: 0,
            misses: 0,
            gone: 0,
            next_attempt_at: None,
            finished_at: None,
            code: None,
            message: None,
        }
    }

    /// The function that is called.
    #[must_use]
    pub(crate) fn key(&self) -> Key {
        Key::new(&*self.namespace, &*self.function)
    }

    /// Its place in a line, if it stands in one.
    #[must_use]
    pub(crate) fn place(&self) -> Option<&Place> {
        self.heard.as_ref()?.place.as_ref()
    }

    /// The same, to be given its number.
    pub(crate) fn place_mut(&mut self) -> Option<&mut Place> {
        self.heard.as_mut()?.place.as_mut()
    }

    /// With which others it is delivered, if that is what is to be done with it.
    #[must_use]
    pub(crate) fn batch(&self) -> Option<&Batch> {
        let batch = self.heard.as_ref()?.batch.as_ref();
        batch.filter(|_| self.left() == Left::Call)
    }

    /// When it is tried no more.
    #[must_use]
    pub(crate) fn expires_at(&self) -> Timestamp {
        later(self.accepted_at, self.delivery.max_age())
    }

    /// Whether it is over.
    #[must_use]
    pub(crate) fn is_over(&self) -> bool {
        self.state != State::Waiting
    }

    /// The same as if it were accepted now.
    #[must_use]
    pub(crate) fn anew(&self, now: Timestamp) -> Self {
        let delivery = self.delivery.clone();
        Self {
            heard: self.heard.clone(),
            idempotency: self.idempotency.clone(),
            callback: self.callback.as_ref().map(Callback::anew),
            bytes: self.bytes.saturating_sub(self.answer_bytes()),
            ..Self::new(&self.key(), &self.uid, (self.entrance, now), delivery)
        }
    }

    /// Until when it is known what became of it, once it is over.
    #[must_use]
    pub(crate) fn kept_until(&self) -> Timestamp {
        let since = self.finished_at.unwrap_or(self.accepted_at);
        let kept = match self.state {
            State::Failed => KEPT_FAILED,
            State::Waiting | State::Succeeded | State::Cancelled => KEPT,
        };
        later(since, kept)
    }
}

// === impl Standing ===

impl Standing {
    const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// That of a call in this state, which is just being made or not.
    #[must_use]
    pub(crate) fn of(state: State, is_running: bool) -> Self {
        match state {
            State::Waiting if is_running => Self::Running,
            State::Waiting => Self::Waiting,
            State::Succeeded => Self::Succeeded,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
        }
    }

    /// The word for it.
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }

    /// The one of this word, in capitals or not.
    #[must_use]
    pub(crate) fn read(word: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|standing| standing.word().eq_ignore_ascii_case(word))
    }
}

// === impl Call ===

impl Call {
    /// How much room it takes in the store, in bytes: with its head, and with what is known of it.
    #[must_use]
    pub(crate) fn room(&self) -> u64 {
        let head = &self.head;
        let fields = head.headers.0.iter();
        let fields: usize = fields.map(|(name, value)| name.len() + value.len()).sum();
        (self.body.len() + head.method.len() + head.target.len() + fields + RECORD) as u64
    }
}

// === impl Fields ===

impl Fields {
    /// The fields for which the condition holds.
    #[must_use]
    pub(crate) fn of(headers: &HeaderMap, keep: impl Fn(&HeaderName) -> bool) -> Self {
        let kept = headers.iter().filter(|(name, _)| keep(name));
        Self(
            kept.map(|(name, value)| {
                let value: String = value.as_bytes().iter().copied().map(char::from).collect();
                (name.as_str().into(), value.into())
            })
            .collect(),
        )
    }

    /// Adds a field.
    pub(crate) fn push(&mut self, name: &str, value: &str) {
        self.0.push((name.into(), value.into()));
    }

    /// The names, each as often as it is there.
    #[must_use]
    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| &**name).collect()
    }

    /// Adds them to headers.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            let value: Option<Vec<u8>> = value
                .chars()
                .map(|character| u8::try_from(character).ok())
                .collect();
            // What came as a header is one.
            if let Some(value) = value
                && let Ok(name) = HeaderName::try_from(&**name)
                && let Ok(value) = HeaderValue::try_from(value)
            {
                headers.append(name, value);
            }
        }
    }
}

/// The time that is so much later; the last there is if there is none.
#[must_use]
pub(crate) fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_read_back_with_every_byte() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_bytes(b"gr\xc3\xb6\xdfer").unwrap());
        headers.append("x-b", HeaderValue::from_static("no"));
        let fields = Fields::of(&headers, |name| name != "x-b");
        let json = serde_json::to_vec(&fields).unwrap();
        let fields: Fields = serde_json::from_slice(&json).unwrap();
        let mut back = HeaderMap::new();
        fields.add_to(&mut back);
        headers.remove("x-b");
        assert_eq!(back, headers);
    }
}
