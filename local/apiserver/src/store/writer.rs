//! The one thread that makes changes durable: it takes all that is pending, writes it in one
//! transaction with one sync, and only then lets the requests be answered.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering, mpsc},
};

use serde_json::Value;

use super::{Object, Shared, WriteFailed, disk::Disk, entry::Entry};

/// Runs until every sender of `wake` is gone and nothing is pending.
pub(crate) fn run(shared: &Shared, disk: &mut Disk, wake: &mpsc::Receiver<()>) {
    loop {
        let open = wake.recv().is_ok();
        let (batch, revision) = {
            let mut state = shared.lock();
            (std::mem::take(&mut state.pending), state.revision)
        };
        if !batch.is_empty() {
            match disk.write(&batch, revision) {
                Ok(()) => {
                    if shared.refusing.swap(false, Ordering::Relaxed) {
                        tracing::info!("the store takes writes again");
                    }
                    finish(batch, &Ok(()));
                }
                Err(error) => fail(shared, batch, &error),
            }
        } else if !open {
            return;
        }
    }
}

/// Takes back what could not be written, and everything that came after it, so that memory
/// says what the disk says. Watches see the way back as further changes.
fn fail(shared: &Shared, mut batch: Vec<Entry>, error: &WriteFailed) {
    if !shared.refusing.swap(true, Ordering::Relaxed) {
        tracing::error!(error = %error, "the store refuses writes: it cannot be written to");
    }
    {
        let mut state = shared.lock();
        batch.append(&mut state.pending);
        let mut seen = HashSet::new();
        for entry in &batch {
            let Entry::Change {
                resource,
                key,
                before,
                ..
            } = entry
            else {
                continue;
            };
            // The first entry of a key knows what stood there before any failed write.
            if !seen.insert((Arc::clone(resource), key.clone())) {
                continue;
            }
            let current = state.get(resource, key).cloned();
            if current.is_none() && before.is_none() {
                continue;
            }
            state.revision += 1;
            let revision = state.revision;
            let renumbered = |object: &Arc<Object>| {
                Arc::new(Object::new(Value::clone(&object.value()), revision))
            };
            state.apply(
                resource,
                key,
                before.as_ref().map(renumbered),
                current.as_ref().map(renumbered),
            );
        }
    }
    finish(batch, &Err(error.clone()));
}

fn finish(batch: Vec<Entry>, result: &Result<(), WriteFailed>) {
    for entry in batch {
        let (Entry::Change { done, .. } | Entry::Probe { done }) = entry;
        // A client that went away does not want to know.
        let _ = done.send(result.clone());
    }
}
