//! The store: every object in memory, one counter that orders all changes, a bounded past for
//! watches, and a file that has every change before the change is answered.
//!
//! # Guarantees
//!
//! * A write is answered only once it is synced to disk. Watches and reads see it at once, so that
//!   controllers in this process do not wait for the disk.
//! * A write that cannot be made durable is refused and taken back: memory, disk and watches agree.
//! * Revisions grow by every change and are never used twice, not even after a crash.

mod disk;
mod entry;
mod error;
mod history;
mod memory;
mod object;
mod recent;
mod writer;

use std::{
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use serde_json::Value;
use tokio::sync::{oneshot, watch};

pub use self::error::OpenError;
use self::{disk::Disk, entry::Entry};
pub(crate) use self::{
    error::{CommitError, WriteFailed},
    history::{Change, Event},
    memory::{Listing, State},
    object::{Key, Object},
};

/// Changes that may wait for the disk; beyond, writes are refused.
const MAX_PENDING: usize = 8192;

/// The past that a read asked for is forgotten.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Expired;

/// What a writer takes to be there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    Absent,
    Revision(u64),
}

/// What becomes of an object.
pub(crate) enum Put {
    Store(Value),
    /// Removed; the value is the last state that watches see.
    Remove(Value),
}

/// The handle; cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    /// The disk did not take the last write.
    refusing: AtomicBool,
    writer: Mutex<Option<Writer>>,
    /// Wakes the writer. `None` without a file.
    wake: Mutex<Option<mpsc::SyncSender<()>>>,
    durable: bool,
}

struct Writer {
    thread: thread::JoinHandle<()>,
}

// === impl Store ===

impl Store {
    /// A store that is gone when the process is.
    pub(crate) fn ephemeral() -> Self {
        Self::new(State::new(first_revision()), None)
    }

    /// Opens the store in `path`, making it if it is absent.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let (disk, loaded) = Disk::open(path)?;
        Self::with_disk(path, disk, loaded)
    }

    fn with_disk(path: &Path, disk: Disk, loaded: disk::Loaded) -> Result<Self, OpenError> {
        let mut state = State::new(loaded.revision);
        for (resource, key, object) in loaded.objects {
            state.load(&resource, key, Arc::new(object));
        }
        let (wake, woken) = mpsc::sync_channel(1);
        let store = Self::new(state, Some(wake));
        let shared = Arc::clone(&store.shared);
        let mut disk = disk;
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer::run(&shared, &mut disk, &woken))
            .map_err(|source| OpenError::Io {
                path: path.to_owned(),
                source,
            })?;
        *lock(&store.shared.writer) = Some(Writer { thread });
        Ok(store)
    }

    fn new(state: State, wake: Option<mpsc::SyncSender<()>>) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                refusing: AtomicBool::new(false),
                writer: Mutex::new(None),
                durable: wake.is_some(),
                wake: Mutex::new(wake),
            }),
        }
    }

    /// Writes what is pending and closes the file. Later writes fail.
    pub(crate) async fn close(&self) {
        lock(&self.shared.wake).take();
        let writer = lock(&self.shared.writer).take();
        if let Some(writer) = writer {
            let joined = tokio::task::spawn_blocking(move || writer.thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the writer of the store ended by a panic");
            }
        }
    }

    /// Like [`Self::close`], without waiting.
    pub(crate) fn abandon(&self) {
        lock(&self.shared.wake).take();
    }

    pub(crate) fn get(&self, resource: &str, key: &Key) -> Option<Arc<Object>> {
        self.shared.lock().get(resource, key).cloned()
    }

    /// The objects of a resource, in one namespace or all, now or as of an earlier revision.
    pub(crate) fn list(
        &self,
        resource: &str,
        namespace: Option<&str>,
        at: Option<u64>,
    ) -> Result<Listing, Expired> {
        self.shared.lock().list(resource, namespace, at)
    }

    pub(crate) fn revision(&self) -> u64 {
        self.shared.lock().revision
    }

    /// Up to `most` events after `cursor`, and the revision to go on from.
    pub(crate) fn events(
        &self,
        resource: &str,
        cursor: u64,
        most: usize,
    ) -> Result<(Vec<Arc<Event>>, u64), Expired> {
        self.shared.lock().events(resource, cursor, most)
    }

    /// Changes whenever the resource does.
    pub(crate) fn subscribe(&self, resource: &Arc<str>) -> watch::Receiver<u64> {
        self.shared.lock().subscribe(resource)
    }

    /// Looks at several things at one moment.
    pub(crate) fn view<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.shared.lock())
    }

    /// Writes one object, if it is as expected and `guard` agrees, and waits until that is durable.
    /// `guard` sees the state at the moment of the write, and what is written.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the write may or may not have happened, as with any request
    /// whose answer is lost.
    pub(crate) async fn write<G>(
        &self,
        resource: &Arc<str>,
        key: &Key,
        expect: Expect,
        put: Put,
        guard: impl FnOnce(&State, &Value) -> Result<(), G>,
    ) -> Result<Arc<Object>, CommitError<G>> {
        if self.shared.refusing.load(Ordering::Relaxed) {
            self.probe().await?;
        }
        let (object, durable) = self.commit(resource, key, expect, put, guard)?;
        if let Some(durable) = durable {
            match durable.await {
                Ok(result) => result.map_err(CommitError::Failed)?,
                Err(_) => return Err(CommitError::Failed(WriteFailed::closed())),
            }
        }
        Ok(object)
    }

    /// Asks the disk whether it takes writes again, before anybody is shown a change that would
    /// have to be taken back.
    async fn probe<G>(&self) -> Result<(), CommitError<G>> {
        let (done, durable) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            if state.pending.len() >= MAX_PENDING {
                return Err(CommitError::Busy);
            }
            state.pending.push(Entry::Probe { done });
        }
        self.shared.wake().map_err(CommitError::Failed)?;
        let answer = durable.await;
        answer
            .unwrap_or_else(|_| Err(WriteFailed::closed()))
            .map_err(CommitError::Failed)
    }

    #[allow(clippy::type_complexity)]
    fn commit<G>(
        &self,
        resource: &Arc<str>,
        key: &Key,
        expect: Expect,
        put: Put,
        guard: impl FnOnce(&State, &Value) -> Result<(), G>,
    ) -> Result<
        (
            Arc<Object>,
            Option<oneshot::Receiver<Result<(), WriteFailed>>>,
        ),
        CommitError<G>,
    > {
        let mut state = self.shared.lock();
        let before = state.get(resource, key).cloned();
        match (expect, &before) {
            (Expect::Absent, None) => {}
            (Expect::Revision(revision), Some(object)) if object.revision == revision => {}
            _ => return Err(CommitError::Stale),
        }
        let (Put::Store(new) | Put::Remove(new)) = &put;
        guard(&state, new).map_err(CommitError::Refused)?;
        if state.pending.len() >= MAX_PENDING {
            return Err(CommitError::Busy);
        }
        if self.shared.durable && lock(&self.shared.wake).is_none() {
            return Err(CommitError::Failed(WriteFailed::closed()));
        }
        state.revision += 1;
        let (value, stored) = match put {
            Put::Store(value) => (value, true),
            Put::Remove(value) => (value, false),
        };
        let (object, tree) = Object::with_tree(value, state.revision);
        let object = Arc::new(object);
        state.recent.keep(tree, object.json.len());
        let after = stored.then(|| Arc::clone(&object));
        state.apply(resource, key, after.clone(), Some(Arc::clone(&object)));
        if !self.shared.durable {
            return Ok((object, None));
        }
        let (done, durable) = oneshot::channel();
        state.pending.push(Entry::Change {
            resource: Arc::clone(resource),
            key: key.clone(),
            before,
            after,
            done,
        });
        drop(state);
        self.shared.wake().map_err(CommitError::Failed)?;
        Ok((object, Some(durable)))
    }

    /// Forgets the past of a resource, as a compaction does.
    #[cfg(test)]
    pub(crate) fn compact(&self, resource: &Arc<str>) {
        self.shared.lock().compact(resource);
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn wake(&self) -> Result<(), WriteFailed> {
        match lock(&self.wake).as_ref() {
            // A full channel means that the writer is about to look anyway.
            Some(wake) => match wake.try_send(()) {
                Ok(()) | Err(mpsc::TrySendError::Full(())) => Ok(()),
                Err(mpsc::TrySendError::Disconnected(())) => Err(WriteFailed::closed()),
            },
            None => Err(WriteFailed::closed()),
        }
    }
}

/// Where the revisions of a new store begin: the milliseconds since 1970. A client that knew an
/// earlier store of the same address then finds its versions too old, not still to come.
fn first_revision() -> u64 {
    let now = jiff::Timestamp::now().as_millisecond();
    u64::try_from(now).unwrap_or(1)
}

/// The state stays whole even if a holder of the lock panicked: every change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("durable", &self.shared.durable)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
