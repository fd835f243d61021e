//! What is in rows: a head in JSON, and behind it a body where there is one.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::error::StoreError;

/// A row of something with a body: the length of its head, the head, the body.
pub(super) fn with_body<T: Serialize>(head: &T, body: &[u8]) -> Result<Vec<u8>, StoreError> {
    let head = json(head)?;
    let length = u32::try_from(head.len()).unwrap_or(u32::MAX);
    let mut row = Vec::with_capacity(4 + head.len() + body.len());
    row.extend_from_slice(&length.to_be_bytes());
    row.extend_from_slice(&head);
    row.extend_from_slice(body);
    Ok(row)
}

/// Head and body of a row.
pub(super) fn split<T: DeserializeOwned>(row: Vec<u8>) -> Result<(T, Bytes), StoreError> {
    let row = Bytes::from(row);
    let length = row
        .first_chunk::<4>()
        .map_or(0, |length| u32::from_be_bytes(*length)) as usize;
    let end = (4 + length).min(row.len());
    let head = read(row.get(4.min(end)..end).unwrap_or_default())?;
    Ok((head, row.slice(end..)))
}

/// A row without a body.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Content(Arc::new(error)))
}

/// What a row without a body says.
pub(super) fn read<T: DeserializeOwned>(row: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(row).map_err(|error| StoreError::Content(Arc::new(error)))
}
