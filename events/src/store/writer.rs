//! The one thread that makes changes durable: it takes all that are pending, has them written together, and then tells
//! those who wait.

use std::{sync::Arc, thread};

use tokio::sync::{mpsc, oneshot};

use super::backend::{Backend, Change};
use crate::error::{OpenError, StoreError};

/// Changes that wait to be written; beyond, who makes one waits.
const PENDING: usize = 4096;

/// The most that is written at once, in writes and in bytes.
const BATCH: (usize, usize) = (1024, 16 * 1024 * 1024);

/// Changes that belong together.
struct Write {
    changes: Vec<Change>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// The way to the thread, which ends when nothing leads to it any more.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    writes: mpsc::Sender<Write>,
}

// === impl Writer ===

impl Writer {
    /// Starts the thread.
    pub(super) fn start(backend: Arc<dyn Backend>) -> Result<Self, OpenError> {
        let (writes, pending) = mpsc::channel(PENDING);
        thread::Builder::new()
            .name("events-store".to_owned())
            .spawn(move || run(&*backend, pending))
            .map_err(OpenError::Thread)?;
        Ok(Self { writes })
    }

    /// Returns when the changes are on the disk, all of them, or none is.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the changes may be written or not.
    pub(super) async fn write(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (done, written) = oneshot::channel();
        let write = Write { changes, done };
        let sent = self.writes.send(write).await;
        sent.map_err(|_| StoreError::Closed)?;
        written.await.map_err(|_| StoreError::Closed)?
    }
}

fn run(backend: &dyn Backend, mut pending: mpsc::Receiver<Write>) {
    let mut refusing = false;
    while let Some(first) = pending.blocking_recv() {
        let mut bytes = size(&first.changes);
        let (mut writes, mut waiting) = (vec![first.changes], vec![first.done]);
        while waiting.len() < BATCH.0
            && bytes < BATCH.1
            && let Ok(next) = pending.try_recv()
        {
            bytes += size(&next.changes);
            writes.push(next.changes);
            waiting.push(next.done);
        }
        let written = backend.write(&writes);
        let refused = written.iter().find_map(|written| written.as_ref().err());
        if refusing != refused.is_some() {
            refusing = !refusing;
            match refused {
                None => tracing::info!("the store takes writes again"),
                Some(error) => tracing::error!(
                    error = error as &dyn std::error::Error,
                    "the store refuses writes"
                ),
            }
        }
        for (done, written) in waiting.into_iter().zip(written) {
            // Who has gone does not want to know.
            let _ = done.send(written);
        }
    }
}

fn size(changes: &[Change]) -> usize {
    let rows = changes.iter().filter_map(|change| change.row.as_ref());
    rows.map(Vec::len).sum()
}
