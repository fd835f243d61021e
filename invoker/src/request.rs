//! Request bodies, within bounds of size and time.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{header, request::Parts};
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

/// How much of a refused body is read all the same, and for how long. A client that is still
/// sending when the connection is closed may never see the answer.
const DRAIN_BYTES: usize = 64 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);

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
    pub(crate) async fn read(&self, parts: &Parts, mut body: Incoming) -> Result<Whole, Failure> {
        if body.is_end_stream() {
            return Ok(Whole {
                bytes: Bytes::new(),
                room: None,
            });
        }
        let declared = body.size_hint().exact();
        let declared = declared.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        if declared.is_some_and(|size| size > self.most) {
            if !waits(parts) {
                drain(&mut body).await;
            }
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
                drain(&mut body).await;
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

/// Reads what is left of a body that is refused, within bounds.
pub(crate) async fn drain(body: &mut Incoming) {
    let reading = async {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let size = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(size) {
                Some(less) => left = less,
                None => break,
            }
        }
    };
    // Whether it came to an end makes no difference.
    let _ = timeout(DRAIN_TIME, reading).await;
}

/// Whether the client waits to be asked for the body (RFC 9110, section 10.1.1). Reading the body
/// asks for it; a body that is refused anyway should not be sent first.
pub(crate) fn waits(parts: &Parts) -> bool {
    parts.headers.contains_key(header::EXPECT)
}
