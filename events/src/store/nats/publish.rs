//! Messages to the stream, and what the server says of each.

use async_nats::{Client, HeaderMap, StatusCode, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::Deserialize;

use super::{message::Message, settings::PATIENCE};
use crate::error::NatsError;

/// The most messages of which a server writes all or none.
pub(super) const MOST: usize = 1000;

/// The most messages that are under way behind each other.
pub(super) const CHAIN: usize = 256;

/// The number that the last message of the stream must have.
const EXPECTED: &str = "Nats-Expected-Last-Sequence";

const BATCH: &str = "Nats-Batch-Id";
const NUMBER: &str = "Nats-Batch-Sequence";
const COMMIT: &str = "Nats-Batch-Commit";

/// The numbers of the errors that say that the last message has another number.
const WRONG_LAST: [u64; 2] = [10071, 10164];

/// The numbers of the errors that say that there is no room: of the stream, the account, the server.
const NO_ROOM: [u64; 5] = [10002, 10023, 10028, 10047, 10122];

/// The number of the error that says that the stream has not stored it, and what it says if that is for want of room.
const NOT_STORED: (u64, &str) = (10077, "maximum ");

/// What became of a message, or of several of which all are written or none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Told {
    /// It is written, and this is the number of the last of them.
    Written(u64),
    /// It is not written, and never will be.
    Refused(Refusal),
    /// Nobody has said.
    Unknown,
}

/// Why a message is not written.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub(super) struct Refusal {
    /// Which error it is.
    #[serde(rename = "err_code")]
    code: u64,
    /// In a sentence.
    #[serde(default)]
    description: String,
}

/// The way to the stream. One at a time uses it.
#[derive(Debug)]
pub(super) struct Post {
    client: Client,
    /// What subjects begin with.
    prefix: String,
    /// Where answers come.
    inbox: String,
    answers: Subscriber,
    round: u64,
}

/// What a server answers to a message.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    error: Option<Refusal>,
}

// === impl Refusal ===

impl Refusal {
    /// Whether the last message has another number than was expected.
    pub(super) fn is_wrong_last(&self) -> bool {
        WRONG_LAST.contains(&self.code)
    }

    /// Whether there is no room.
    pub(super) fn is_for_want_of_room(&self) -> bool {
        let stored = self.code == NOT_STORED.0 && self.description.contains(NOT_STORED.1);
        stored || NO_ROOM.contains(&self.code)
    }

    /// The error that it is.
    pub(super) fn error(self) -> NatsError {
        NatsError::Refused {
            code: self.code,
            description: self.description,
        }
    }
}

// === impl Post ===

impl Post {
    /// A way to the stream whose subjects begin so.
    ///
    /// # Errors
    ///
    /// When there is no connection.
    pub(super) async fn new(client: Client, prefix: &str) -> Result<Self, NatsError> {
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*.*")).await;
        Ok(Self {
            prefix: prefix.to_owned(),
            inbox,
            answers: answers.map_err(|error| NatsError::Publish(Box::new(error)))?,
            round: 0,
            client,
        })
    }

    /// Sends messages one behind the other, each to be written if the one before it was, the first behind this number.
    pub(super) async fn chain(&mut self, messages: Vec<Message>, last: u64) -> Vec<Told> {
        let count = messages.len();
        let numbered = (last..).zip(messages).map(|(last, mut message)| {
            message.headers.insert(EXPECTED, last.to_string().as_str());
            (message, true)
        });
        let numbered: Vec<_> = numbered.collect();
        self.send(numbered, count).await
    }

    /// Sends messages of which all are to be written or none, behind this number.
    pub(super) async fn batch(&mut self, messages: Vec<Message>, last: u64) -> Told {
        let count = messages.len();
        // A name is used once: by this connection, in this round.
        let name = format!(
            "{}-{}",
            self.inbox.trim_start_matches("_INBOX."),
            self.round
        );
        let numbered = (1..=count).zip(messages).map(|(number, mut message)| {
            let headers = &mut message.headers;
            headers.insert(BATCH, name.as_str());
            headers.insert(NUMBER, number.to_string().as_str());
            if number == 1 {
                headers.insert(EXPECTED, last.to_string().as_str());
            }
            if number == count {
                headers.insert(COMMIT, "1");
            }
            (message, number == count)
        });
        let numbered: Vec<_> = numbered.collect();
        let told = self.send(numbered, 1).await;
        told.into_iter().next().unwrap_or(Told::Unknown)
    }

    /// Sends messages, and waits for the answers to those that are marked.
    async fn send(&mut self, messages: Vec<(Message, bool)>, awaited: usize) -> Vec<Told> {
        self.round += 1;
        let mut told = vec![Told::Unknown; awaited];
        let mut number = 0;
        for (message, answered) in messages {
            let Message {
                subject,
                headers,
                body,
            } = message;
            let subject = format!("{}.{subject}", self.prefix);
            let sent = if answered {
                let reply = format!("{}.{}.{number}", self.inbox, self.round);
                number += 1;
                self.publish(subject, Some(reply), headers, body).await
            } else {
                self.publish(subject, None, headers, body).await
            };
            if sent.is_err() {
                return told;
            }
        }
        let mut missing = awaited;
        let begin = format!("{}.{}.", self.inbox, self.round);
        while missing > 0 {
            let Ok(Some(answer)) = tokio::time::timeout(PATIENCE, self.answers.next()).await else {
                break;
            };
            // One of an earlier round comes too late.
            let number = answer.subject.strip_prefix(&begin);
            let Some(number) = number.and_then(|number| number.parse::<usize>().ok()) else {
                continue;
            };
            missing -= 1;
            // Nobody has it: who leads the stream is just being found.
            if answer.status == Some(StatusCode::NO_RESPONDERS) {
                continue;
            }
            if let Some(told) = told.get_mut(number) {
                *told = said(&answer.payload);
            }
        }
        told
    }

    async fn publish(
        &self,
        subject: String,
        reply: Option<String>,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), NatsError> {
        let client = &self.client;
        let sent = async {
            match reply {
                Some(reply) => {
                    client
                        .publish_with_reply_and_headers(subject, reply, headers, body)
                        .await
                }
                None => client.publish_with_headers(subject, headers, body).await,
            }
        };
        // While there is no connection the client keeps so many, and then waits.
        tokio::time::timeout(PATIENCE, sent)
            .await
            .map_err(|_| NatsError::Disconnected)?
            .map_err(|error| NatsError::Publish(Box::new(error)))
    }
}

fn said(answer: &[u8]) -> Told {
    match serde_json::from_slice::<Answer>(answer) {
        Ok(Answer {
            error: Some(refusal),
            ..
        }) => Told::Refused(refusal),
        Ok(Answer { seq, .. }) if seq > 0 => Told::Written(seq),
        _ => Told::Unknown,
    }
}
