//! Keeps a message for everybody who hears its topic.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use fermata_crds::{
    MessageOrder, Subscription,
    names::{HOPS_HEADER, PUBLISHER_HEADER},
    topic::{self, MOST_FRAMED},
};
use fermata_daemon::watch::Key;
use http::{Request, StatusCode, request::Parts};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::json;

use super::{
    Server,
    accept::{self, credentials, digest, idempotency_key, problem},
    body, entrance, not_from_the_gateway, text,
};
use crate::{
    event::{self, Defaults, Event},
    id::Id,
    invocation::{Batch, Call, Entrance, Heard, Idempotency, Invocation, Place},
    problem::{Answer, Problem, json_answer},
    store::{For, Refused, Store},
};

/// The most bytes that one request has written, for all who hear what it publishes.
const MOST_WRITTEN: u64 = 16 * 1024 * 1024;

/// The most bytes of headers that go along with a message.
const MOST_PASSED_ON: usize = 16 * 1024;

/// The most bytes that all requests have written at once.
pub(super) const MOST_AT_ONCE: u64 = 4 * MOST_WRITTEN;

/// The unit in which that is counted.
pub(super) const UNIT: u64 = 1024;

/// The attribute by which messages belong together
/// (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/partitioning.md>).
const PARTITION_KEY: &str = "partitionkey";

/// The most functions that answer one to the other with messages.
const MOST_HOPS: u32 = 16;

/// What was published.
struct Published {
    ids: Vec<String>,
    /// To how many triggers it goes.
    deliveries: usize,
    /// To how many it went before.
    duplicates: usize,
}

/// A message that a trigger hears.
struct Delivered<'a> {
    /// Its place among those of its request.
    index: usize,
    event: &'a Event,
    subscription: &'a Subscription,
}

/// Who publishes, and where to.
struct Publisher<'a> {
    parts: &'a Parts,
    namespace: &'a str,
    topic: &'a str,
    entrance: Entrance,
    /// How many functions have answered, one to the other, before.
    hops: u32,
    /// The key by which it publishes once.
    key: Option<&'a [u8]>,
}

// === impl Server ===

impl Server {
    /// `path` is that of the topic.
    pub(super) async fn publish(
        &self,
        path: &str,
        request: Request<Incoming>,
    ) -> Result<Answer, Problem> {
        let Some((namespace, topic)) = path.split_once('/') else {
            return Err(Problem::new(
                StatusCode::NOT_FOUND,
                "NoSuchTopic",
                "messages are kept under /topics/NAMESPACE/NAME",
            ));
        };
        let published = self.keep_message(namespace, topic, request).await;
        let refused = published.as_ref().err().map(|problem| problem.reason);
        let messages = published
            .as_ref()
            .map_or(0, |published| published.ids.len());
        self.metrics
            .published(namespace, topic, messages as u64, refused);
        let Published {
            ids,
            deliveries,
            duplicates,
        } = published?;
        let body = json!({ "ids": ids, "deliveries": deliveries, "duplicates": duplicates });
        Ok(json_answer(StatusCode::ACCEPTED, "application/json", &body))
    }

    async fn keep_message(
        &self,
        namespace: &str,
        topic: &str,
        request: Request<Incoming>,
    ) -> Result<Published, Problem> {
        let (parts, body) = request.into_parts();
        let hops = text(&parts.headers, HOPS_HEADER).and_then(|hops| hops.parse().ok());
        let hops = hops.unwrap_or(0);
        if hops > MOST_HOPS {
            return Err(Problem::new(
                StatusCode::LOOP_DETECTED,
                "MessageLoop",
                format!(
                    "{MOST_HOPS} functions have answered one to the other with a message (spec.output), and it is to go \
                     on: do they go round?"
                ),
            ));
        }
        let publisher = Publisher {
            hops,
            parts: &parts,
            namespace,
            topic,
            entrance: entrance(&parts.headers)?,
            key: idempotency_key(&parts)?.map(|key| key.as_bytes()),
        };
        let most = self.max_body_bytes;
        let too_large = || body::too_large("message", most, "");
        let mut framed = body::read(&parts, body, most + MOST_FRAMED, too_large).await?;
        let (subscriptions, begin) =
            topic::split(&framed).ok_or_else(|| not_from_the_gateway("the subscriptions"))?;
        let message = framed.split_off(begin.min(framed.len()));
        if message.len() > most {
            return Err(too_large());
        }
        let now = Timestamp::now();
        let events = publisher.events(message, now)?;
        let ids = events.iter().map(|event| event.id().to_owned()).collect();
        let (heard, bytes) = publisher.heard(&events, &subscriptions)?;
        let units = u32::try_from(bytes / UNIT + 1).unwrap_or(u32::MAX);
        // The semaphore is never closed. It is held until all is written, also when nobody waits for that any more.
        let room = self.room.clone().acquire_many_owned(units).await;
        let calls = publisher.calls(&heard, now)?;
        let all = calls.len();
        let functions: Vec<_> = calls
            .iter()
            .map(|(id, call, _)| (*id, call.function.clone()))
            .collect();
        let purpose = publisher.purpose(&self.store);
        let kept = self.store.accept_all(calls, purpose, room).await;
        let kept = kept.map_err(|refused| publisher.refused(&refused))?;
        let mut deliveries = 0;
        for ((id, function), kept) in functions.into_iter().zip(kept) {
            if id == kept {
                deliveries += 1;
                self.metrics.accepted(namespace, &function, None);
            }
        }
        Ok(Published {
            ids,
            deliveries,
            duplicates: all - deliveries,
        })
    }
}

// === impl Publisher ===

impl Publisher<'_> {
    /// The messages, each once.
    fn events(&self, message: Bytes, now: Timestamp) -> Result<Vec<Event>, Problem> {
        let (id, time) = (new_id(now)?.to_string(), now.to_string());
        let source = format!("/namespaces/{}/topics/{}", self.namespace, self.topic);
        let defaults = Defaults {
            id: &id,
            source: &source,
            time: &time,
        };
        let events = event::read(&self.parts.headers, message, defaults).map_err(|error| {
            let (status, reason) = if error.is_of_form() {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType")
            } else {
                (StatusCode::BAD_REQUEST, "BadRequest")
            };
            Problem::new(status, reason, error.to_string())
        })?;
        let mut names = HashSet::new();
        let twice = events.iter().find(|event| {
            event
                .name()
                .is_some_and(|(source, id)| !names.insert((source.to_owned(), id.to_owned())))
        });
        match twice {
            Some(event) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "BadRequest",
                format!(
                    "two messages of the batch have the same source and the id {:?}; give each an id of its own",
                    event.id()
                ),
            )),
            None => Ok(events),
        }
    }

    /// Which message is heard by which trigger, and about as many bytes as are written for that.
    fn heard<'a>(
        &self,
        events: &'a [Event],
        subscriptions: &'a [Subscription],
    ) -> Result<(Vec<Delivered<'a>>, u64), Problem> {
        let headers = self.passed_on()?;
        let (mut heard, mut bytes) = (Vec::new(), 0);
        for (index, event) in events.iter().enumerate() {
            for subscription in subscriptions {
                if !subscription.hears(|name| event.attribute(name)) {
                    continue;
                }
                bytes += event.room() + headers + subscription.path.len() as u64;
                if bytes > MOST_WRITTEN {
                    return Err(too_much());
                }
                heard.push(Delivered {
                    index,
                    event,
                    subscription,
                });
            }
        }
        Ok((heard, bytes))
    }

    /// Bytes of the headers that go along with each message.
    fn passed_on(&self) -> Result<u64, Problem> {
        let headers = self.parts.headers.iter();
        let headers = headers.filter(|(name, _)| event::is_passed_on(name));
        let bytes: usize = headers
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if bytes > MOST_PASSED_ON {
            return Err(Problem::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "HeadersTooLarge",
                format!(
                    "traceparent, tracestate and baggage have more than {MOST_PASSED_ON} bytes together"
                ),
            ));
        }
        Ok(bytes as u64)
    }

    /// Whether it is a function of the namespace that answers, to what it is being told.
    fn purpose(&self, store: &Store) -> For {
        let key = self.key.and_then(|key| std::str::from_utf8(key).ok());
        let id = key.and_then(|key| key.split('/').next()?.parse().ok());
        let answers = |id| self.hops > 0 && store.is_running_in(self.namespace, id);
        if id.is_some_and(answers) {
            For::Answer
        } else {
            For::Caller
        }
    }

    /// A call for each of them.
    fn calls(
        &self,
        heard: &[Delivered<'_>],
        now: Timestamp,
    ) -> Result<Vec<(Id, Invocation, Call)>, Problem> {
        let mut calls = Vec::new();
        for Delivered {
            index,
            event,
            subscription,
        } in heard
        {
            let call = event.call(subscription, &self.parts.headers);
            let function = Key::new(self.namespace, &subscription.function);
            let (uid, delivery) = (&subscription.uid, subscription.delivery.clone());
            let invocation = Invocation {
                heard: Some(Heard {
                    topic: self.topic.into(),
                    trigger: subscription.trigger.clone(),
                    output: subscription.output.clone(),
                    hops: self.hops,
                    place: place(event, subscription),
                    batch: batch(subscription),
                }),
                idempotency: self.idempotency(*index, event, subscription, &call),
                bytes: call.room(),
                ..Invocation::new(&function, uid, (self.entrance, now), delivery)
            };
            calls.push((new_id(now)?, invocation, call));
        }
        Ok(calls)
    }

    /// What makes a delivery the same as an earlier one: the publisher's key, or else source and id of the message. It
    /// holds for whoever shows the same credentials, and for a function for those of its namespace.
    fn idempotency(
        &self,
        index: usize,
        event: &Event,
        subscription: &Subscription,
        call: &Call,
    ) -> Option<Idempotency> {
        let index = index.to_string();
        let (kind, name) = match (self.key, event.name()) {
            (Some(key), _) => ("key", [key, index.as_bytes()]),
            (None, Some((source, id))) => ("event", [source.as_bytes(), id.as_bytes()]),
            (None, None) => return None,
        };
        let publisher = text(&self.parts.headers, PUBLISHER_HEADER).unwrap_or_default();
        let mut whose = vec![
            b"message",
            kind.as_bytes(),
            self.topic.as_bytes(),
            subscription.trigger.as_bytes(),
            subscription.uid.as_bytes(),
            accept::name(self.entrance).as_bytes(),
            publisher.as_bytes(),
        ];
        whose.extend(name);
        whose.extend(credentials(&self.parts.headers));
        Some(Idempotency {
            key: digest(&whose),
            // Where it is delivered is for who hears it to say, and may change.
            digest: digest(&[&call.body]),
        })
    }

    fn refused(&self, refused: &Refused) -> Problem {
        match refused {
            Refused::KeyReused if self.key.is_none() => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "EventIdReused",
                "a message with this source and id was published with other data; give each message an id of its own",
            ),
            refused => problem(refused),
        }
    }
}

/// Where it stands among the messages of its key, if they are to be delivered in order.
fn place(event: &Event, subscription: &Subscription) -> Option<Place> {
    let key = event.attribute(PARTITION_KEY)?;
    let line = [&*subscription.uid, &*subscription.trigger, key].map(str::as_bytes);
    (subscription.order == MessageOrder::Key).then(|| Place {
        line: digest(&line),
        number: 0,
    })
}

/// With which others it is delivered, if several are to be at once.
fn batch(subscription: &Subscription) -> Option<Batch> {
    let batch = subscription.batch.as_ref()?;
    let Subscription {
        uid, trigger, path, ..
    } = subscription;
    let wait = batch.wait.map_or(Duration::ZERO, Duration::from);
    Some(Batch {
        group: digest(&[uid, trigger, path].map(|text| text.as_bytes())),
        size: batch.size.max(1),
        wait: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
    })
}

fn too_much() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "PayloadTooLarge",
        format!(
            "more than {MOST_WRITTEN} bytes would be written for all who hear this; publish fewer or smaller messages"
        ),
    )
}

fn new_id(now: Timestamp) -> Result<Id, Problem> {
    Id::new(now).map_err(|error| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "StoreUnavailable",
            error.to_string(),
        )
        .for_seconds(1)
    })
}
