//! All messages of the stream, without their bodies, when the store is taken.

use std::{collections::BTreeMap, time::Duration};

use async_nats::jetstream::{
    consumer::{DeliverPolicy, pull::OrderedConfig},
    stream::Stream,
};
use futures::StreamExt as _;

use super::{
    super::backend::Rows,
    catalog::{Catalog, Piece},
    message::Content,
    owner::OWNER,
};
use crate::{error::NatsError, id::Id};

/// How long the next message may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is in the stream.
#[derive(Debug)]
pub(super) struct Loaded {
    /// Which messages hold what.
    pub(super) catalog: Catalog,
    /// What is known of each call, if it was in a header.
    pub(super) invocations: BTreeMap<Id, Option<Vec<u8>>>,
}

/// Reads the stream up to the message by which the store was taken.
///
/// # Errors
///
/// When it cannot be read.
pub(super) async fn load(stream: &Stream, end: u64) -> Result<Loaded, NatsError> {
    let name = &stream.cached_info().config.name;
    let config = OrderedConfig {
        deliver_policy: DeliverPolicy::All,
        headers_only: true,
        ..OrderedConfig::default()
    };
    let consumer = stream.create_consumer(config).await;
    let consumer = consumer.map_err(NatsError::Consumer)?;
    let broken = |error| NatsError::Messages(error);
    let messages = consumer.messages().await;
    let mut messages = messages.map_err(|error| broken(Box::new(error)))?;
    let mut loaded = Loaded {
        catalog: Catalog::default(),
        invocations: BTreeMap::new(),
    };
    loop {
        let next = tokio::time::timeout(PATIENCE, messages.next()).await;
        let message = match next {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => return Err(broken(Box::new(error))),
            Ok(None) | Err(_) => return Err(NatsError::Silent),
        };
        let info = message.info().map_err(broken)?;
        let sequence = info.stream_sequence;
        let subject = message.subject.strip_prefix(&**name);
        let subject = subject.and_then(|subject| subject.strip_prefix('.'));
        let content = message.headers.as_ref().and_then(Content::of);
        if let (Some((id, slot)), Some(content)) = (subject.and_then(place), content) {
            loaded.add(id, slot, sequence, content);
        } else if subject != Some(OWNER) {
            tracing::warn!(
                subject = %message.subject,
                "a message of the stream makes no sense to this program, and is left alone"
            );
        }
        // Nothing but who has the store is written behind it until all is loaded.
        if sequence >= end {
            break;
        }
    }
    loaded.catalog.loaded();
    let Loaded {
        catalog,
        invocations,
    } = &mut loaded;
    invocations.retain(|id, _| !catalog.rows(*id).is_empty());
    Ok(loaded)
}

impl Loaded {
    fn add(&mut self, id: Id, slot: u16, sequence: u64, content: Content) {
        let piece = Piece {
            sequence,
            slot,
            rows: content.rows(),
        };
        let touched = content.touched();
        self.catalog.load(id, piece, touched);
        if touched.has(Rows::Invocations) {
            self.invocations.insert(id, content.invocation);
        }
    }
}

/// Call and slot of a subject.
fn place(subject: &str) -> Option<(Id, u16)> {
    let (id, slot) = subject.split_once('.')?;
    Some((id.parse().ok()?, slot.parse().ok()?))
}
