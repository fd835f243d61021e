//! Request bodies, within bounds of size and time.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::failure::Failure;

/// The longest silence in the middle of a body.
pub(crate) const BODY_IDLE: Duration = Duration::from_secs(30);

/// Bodies of the largest size that may be held at once.
const LARGEST_AT_ONCE: usize = 16;

const KIB: usize = 1024;

/// Reads whole bodies, and bounds how much memory all of them take together.
pub(crate) struct Reader {
    most: usize,
    room: Arc<Semaphore>,
}

/// A body that was read. Its room is given back with it.
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

// === impl Reader ===

impl Reader {
    pub(crate) fn new(most: usize) -> Self {
        let room = (most.div_ceil(KIB) * LARGEST_AT_ONCE).min(Semaphore::MAX_PERMITS);
        Self {
            most,
            room: Arc::new(Semaphore::new(room)),
        }
    }

    /// Reads all of a body. Dropping the future gives its room back.
    pub(crate) async fn read(&self, mut body: Incoming) -> Result<Whole, Failure> {
        if body.is_end_stream() {
            return Ok(Whole {
                bytes: Bytes::new(),
                room: None,
            });
        }
        let declared = body.size_hint().exact();
        let declared = declared.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        if declared.is_some_and(|size| size > self.most) {
            return Err(Failure::BodyTooLarge(self.most));
        }
        let most = declared.unwrap_or(self.most);
        let room = self.take_room(most).await;
        // A small body comes in one piece and is not copied; the others are put together at once,
        // since a body of very many very small pieces would take much more than its size.
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        loop {
            let frame = match timeout(BODY_IDLE, body.frame()).await {
                Ok(None) => break,
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => return Err(Failure::BodyIncomplete),
                Err(_) => return Err(Failure::BodyStalled),
            };
            // Trailers have no place in a handler's request.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if first.len() + rest.len() + data.len() > self.most {
                return Err(Failure::BodyTooLarge(self.most));
            }
            if first.is_empty() && rest.is_empty() {
                first = data;
                continue;
            }
            if !first.is_empty() {
                rest.reserve(declared.unwrap_or(first.len() + data.len()));
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
        let bytes = if rest.is_empty() {
            first
        } else {
            rest.freeze()
        };
        Ok(Whole { bytes, room })
    }

    async fn take_room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        self.room.clone().acquire_many_owned(wanted).await.ok()
    }
}
