//! What the writer is given to do.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Key, Object, WriteFailed};

/// A change on its way to disk, or a question whether the disk takes writes again.
pub(crate) enum Entry {
    Change {
        resource: Arc<str>,
        key: Key,
        before: Option<Arc<Object>>,
        after: Option<Arc<Object>>,
        done: oneshot::Sender<Result<(), WriteFailed>>,
    },
    Probe {
        done: oneshot::Sender<Result<(), WriteFailed>>,
    },
}
