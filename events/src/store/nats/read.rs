//! Rows, read from the messages that hold them.

use async_nats::{
    HeaderMap,
    jetstream::stream::{DirectGetErrorKind, RawMessageErrorKind},
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, future, stream};

use super::{super::backend::Rows, line::Line, message::Content};
use crate::{error::NatsError, id::Id};

/// How many rows are read at once for one who asks.
const AT_ONCE: usize = 16;

/// How often a row is looked for that is just being written anew.
const LOOKS: usize = 100;

// === impl Line ===

impl Line {
    /// The rows of these calls that are there.
    pub(super) async fn rows(
        &self,
        row: Rows,
        ids: &[Id],
    ) -> Result<Vec<(Id, Vec<u8>)>, NatsError> {
        let reading = stream::iter(ids.iter().copied())
            .map(async |id| Ok::<_, NatsError>((id, self.row(row, id).await?)))
            .buffered(AT_ONCE);
        let rows: Vec<(Id, Option<Vec<u8>>)> = reading.try_collect().await?;
        Ok(rows
            .into_iter()
            .filter_map(|(id, row)| Some((id, row?)))
            .collect())
    }

    /// One row.
    pub(super) async fn row(&self, row: Rows, id: Id) -> Result<Option<Vec<u8>>, NatsError> {
        for _ in 0..LOOKS {
            if self.lost.is_cancelled() {
                return Err(NatsError::Taken);
            }
            let sequences = self.catalog().row(id, row);
            if sequences.is_empty() {
                return Ok(None);
            }
            let parts = sequences.iter().map(|sequence| self.message(*sequence));
            let parts = future::try_join_all(parts).await?;
            if let Some(parts) = parts.into_iter().collect::<Option<Vec<_>>>() {
                return assemble(row, &sequences, &parts).map(Some);
            }
            // It was written anew since, and nobody knows it yet.
            if !self.is_settled().await {
                return Err(NatsError::Silent);
            }
            if self.catalog().row(id, row) == sequences {
                return self.missing(row, id, &sequences).await;
            }
        }
        Err(NatsError::Silent)
    }

    /// A message that is there, from any of the servers, or from the one who leads if that does not have it yet.
    async fn message(&self, sequence: u64) -> Result<Option<(HeaderMap, Bytes)>, NatsError> {
        match self.stream.direct_get(sequence).await {
            Ok(message) => return Ok(Some((message.headers, message.payload))),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => {}
            Err(error) => return Err(NatsError::Get(error)),
        }
        match self.stream.get_raw_message(sequence).await {
            Ok(message) => Ok(Some((message.headers, message.payload))),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(NatsError::GetByLeader(error)),
        }
    }

    /// The servers do not have what they have acknowledged: not yet, or not any more.
    async fn missing(
        &self,
        row: Rows,
        id: Id,
        sequences: &[u64],
    ) -> Result<Option<Vec<u8>>, NatsError> {
        let info = self.stream.get_info().await.map_err(NatsError::Info)?;
        let last = sequences.last().copied().unwrap_or_default();
        if info.state.last_sequence < last {
            return Err(NatsError::Silent);
        }
        tracing::error!(%id, ?row, "NATS has lost what it has acknowledged");
        Ok(None)
    }
}

fn assemble(
    row: Rows,
    sequences: &[u64],
    parts: &[(HeaderMap, Bytes)],
) -> Result<Vec<u8>, NatsError> {
    let senseless = || NatsError::Senseless(sequences.first().copied().unwrap_or_default());
    let count = u32::try_from(parts.len()).map_err(|_| senseless())?;
    let mut assembled = Vec::new();
    for (number, (headers, body)) in (1..=count).zip(parts) {
        let content = Content::of(headers).ok_or_else(senseless)?;
        match content {
            Content {
                invocation: Some(invocation),
                ..
            } if row == Rows::Invocations => return Ok(invocation),
            Content {
                body: Some((found, part, of)),
                ..
            } if (found, part, of) == (row, number, count) => assembled.extend_from_slice(body),
            _ => return Err(senseless()),
        }
    }
    Ok(assembled)
}
