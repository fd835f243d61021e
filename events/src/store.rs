//! Keeps calls until they are over, and for a while what became of them.
//!
//! Everything is on the disk before anybody is told that it is; which calls wait is in memory as well. A call that is
//! being made is held by this process alone: when it ends, the call waits again.

mod backend;
mod change;
mod embedded;
mod index;
mod list;
#[cfg(feature = "nats")]
mod nats;
mod row;
mod sweep;
mod writer;

use std::{
    fmt,
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fermata_daemon::watch::Key;
use jiff::Timestamp;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use crate::{
    error::{OpenError, StoreError},
    id::Id,
    invocation::{Answer, Call, Due, Invocation, LONGEST_RETRY_AFTER, State},
};

use backend::{Backend, Change, Rows};
use embedded::Embedded;
use index::{Index, Waits};
use writer::Writer;

pub(crate) use change::Changed;
pub(crate) use index::{Backlog, For, Next, Order, Owner};
pub(crate) use list::Listed;
#[cfg(feature = "nats")]
pub(crate) use nats::{Nats, Settings};

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// What all waiting calls may take, a tenth more with answers to messages, and as much again what is kept of those
    /// that are over; of one namespace a quarter.
    pub(crate) bytes: u64,
    /// Waiting calls of one namespace.
    pub(crate) calls: u64,
    /// Calls that are over and of which it is known.
    pub(crate) records: usize,
}

/// Why a call is not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The namespace has used up its share.
    #[error(
        "{calls} calls, or {bytes} bytes of them, wait in this namespace already; try again when some are done"
    )]
    NamespaceFull {
        /// The most calls.
        calls: u64,
        /// The most bytes.
        bytes: u64,
    },
    /// All have used up all there is.
    #[error("calls of {bytes} bytes wait already; try again when some are done")]
    Full {
        /// The most bytes.
        bytes: u64,
    },
    /// The disk has room for what is kept already, and no more.
    #[error("the store of calls is full; try again when some are done, or give it more room")]
    DiskFull,
    /// The key is that of a call that is just being accepted.
    #[error("a call with this Idempotency-Key is just being accepted; try again")]
    KeyInUse,
    /// The key is that of another call.
    #[error(
        "this Idempotency-Key was used for a call with another method, path or body; use a key once"
    )]
    KeyReused,
    /// It cannot be kept.
    #[error("the call cannot be kept now; try again")]
    Store(#[source] StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full(_) => Self::DiskFull,
            error => Self::Store(error),
        }
    }
}

/// Who hears what becomes of calls.
pub(crate) trait Observer: fmt::Debug + Send + Sync {
    /// A call is over, or waits for another attempt, and it is on the disk.
    fn settled(&self, invocation: &Invocation);
}

/// Calls, waiting and over.
#[derive(Clone, Debug)]
pub(crate) struct Store(Arc<Shared>);

/// Functions that have something to do, each once until it has nothing.
#[derive(Debug)]
pub(crate) struct Active(mpsc::UnboundedReceiver<Key>);

#[derive(Debug)]
struct Shared {
    bounds: Bounds,
    index: Mutex<Index>,
    backend: Arc<dyn Backend>,
    writer: Writer,
    active: mpsc::UnboundedSender<Key>,
    observer: Arc<dyn Observer>,
}

// === impl Active ===

impl Active {
    /// The next function.
    pub(crate) async fn next(&mut self) -> Option<Key> {
        self.0.recv().await
    }
}

// === impl Store ===

impl Store {
    /// Opens the file with what waits in it, or makes it; without one everything is in memory.
    ///
    /// # Errors
    ///
    /// When it cannot be read and written, or another process has it open.
    pub(crate) fn open(
        path: Option<&Path>,
        bounds: Bounds,
        observer: Arc<dyn Observer>,
    ) -> Result<(Self, Active), OpenError> {
        if let Some(dir) = path.and_then(Path::parent) {
            let mut builder = DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(dir);
            made.map_err(OpenError::Folder)?;
        }
        Self::of(Arc::new(Embedded::open(path)?), bounds, observer)
    }

    /// The calls whose rows are in a stream that this process has.
    ///
    /// # Errors
    ///
    /// When there is no thread for it.
    #[cfg(feature = "nats")]
    pub(crate) fn in_nats(
        nats: Arc<Nats>,
        bounds: Bounds,
        observer: Arc<dyn Observer>,
    ) -> Result<(Self, Active), OpenError> {
        Self::of(nats, bounds, observer)
    }

    fn of(
        backend: Arc<dyn Backend>,
        bounds: Bounds,
        observer: Arc<dyn Observer>,
    ) -> Result<(Self, Active), OpenError> {
        let mut index = Index::default();
        let (now, clock) = (Instant::now(), Timestamp::now());
        let mut invocations = backend.invocations()?;
        // Those of a line stand in it as they were accepted.
        invocations.sort_by_key(|(_, invocation)| invocation.place().map(|place| place.number));
        for (id, invocation) in invocations {
            let due = now + pause(&invocation, clock);
            // What an answer takes is not read for this: it is as good as what was sent.
            index.load(id, &invocation, invocation.bytes, due);
        }
        let writer = Writer::start(backend.clone())?;
        let (active, functions) = mpsc::unbounded_channel();
        for function in index.functions() {
            // The other end is there.
            let _ = active.send(function);
        }
        let shared = Shared {
            bounds,
            index: Mutex::new(index),
            backend,
            writer,
            active,
            observer,
        };
        Ok((Self(Arc::new(shared)), Active(functions)))
    }

    /// Keeps a call; returns when it is on the disk. One that is the same as an earlier one is not kept, and its id is
    /// that one's.
    ///
    /// # Errors
    ///
    /// As [`Self::accept_all`].
    ///
    /// # Cancel safety
    ///
    /// As [`Self::accept_all`].
    pub(crate) async fn accept(
        &self,
        id: Id,
        invocation: Invocation,
        call: Call,
    ) -> Result<Id, Refused> {
        let calls = vec![(id, invocation, call)];
        let kept = self.accept_all(calls, For::Caller, ()).await?;
        Ok(kept.first().copied().unwrap_or(id))
    }

    /// Keeps all of the calls; returns when they are on the disk. Those that are the same as earlier ones are not kept,
    /// and their ids are those ones'. What is held is dropped when they are written, or not kept.
    ///
    /// # Errors
    ///
    /// When there is no room, a key is another call's, or the disk takes nothing. Then none of them is kept.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped all calls are kept or none.
    pub(crate) async fn accept_all(
        &self,
        calls: Vec<(Id, Invocation, Call)>,
        purpose: For,
        held: impl Send + 'static,
    ) -> Result<Vec<Id>, Refused> {
        if self.0.backend.is_short() {
            return Err(Refused::DiskFull);
        }
        let (mut ids, mut kept, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        let mut reserve = |(id, mut invocation, call): (Id, Invocation, Call)| {
            if let Some(place) = invocation.place_mut() {
                place.number = self.index().next_place();
            }
            let written = [
                change(Rows::Invocations, id, Some(row::json(&invocation)?)),
                change(
                    Rows::Calls,
                    id,
                    Some(row::with_body(&call.head, &call.body)?),
                ),
            ];
            let reserved = self
                .index()
                .reserve(&self.0.bounds, id, &invocation, purpose)?;
            ids.push(reserved.unwrap_or(id));
            if reserved.is_none() {
                rows.extend(written);
                kept.push((id, invocation));
            }
            Ok(())
        };
        let reserved: Result<(), Refused> = calls.into_iter().try_for_each(&mut reserve);
        if let Err(refused) = reserved {
            let mut index = self.index();
            for (_, invocation) in &kept {
                index.forget(invocation);
            }
            return Err(refused);
        }
        if kept.is_empty() {
            return Ok(ids);
        }
        let store = self.clone();
        // A task of its own: whether the caller waits or not, what is in memory follows what is on the disk.
        let written = tokio::spawn(async move {
            let written = store.0.writer.write(rows).await;
            drop(held);
            for (id, invocation) in &kept {
                if written.is_ok() {
                    store.wait(*id, invocation, Instant::now());
                } else {
                    // What the disk has not confirmed may be on it all the same, and nobody is to make it.
                    store.remove_unconfirmed(*id);
                    store.index().forget(invocation);
                }
            }
            written
        });
        written.await.map_err(|_| StoreError::Closed)??;
        Ok(ids)
    }

    /// What the function has to do, and takes it: who takes a call has to [settle](Self::settle) it or to
    /// [give it back](Self::give_back).
    pub(crate) fn next(&self, function: &Key) -> Next {
        self.index().next(function, Instant::now())
    }

    /// What tells that the function has more to do.
    pub(crate) fn changed(&self, function: &Key) -> Option<Arc<Notify>> {
        self.index().changed(function)
    }

    /// Whoever makes the calls of a function looks at once what there is to do.
    pub(crate) fn look_again(&self, function: &Key) {
        if let Some(changed) = self.changed(function) {
            changed.notify_one();
        }
    }

    /// All there is of a call that was taken.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) async fn load(&self, id: Id) -> Result<Option<Due>, StoreError> {
        let backend = self.0.backend.clone();
        on_disk(move || {
            let (Some(row), Some(call)) = (
                backend.get(Rows::Invocations, id)?,
                backend.get(Rows::Calls, id)?,
            ) else {
                return Ok(None);
            };
            let (head, body) = row::split(call)?;
            Ok(Some(Due {
                id,
                invocation: row::read(&row)?,
                call: Call { head, body },
            }))
        })
        .await
    }

    /// Writes what became of a call that was taken. If it is over, what was sent is removed unless it has failed; if
    /// not, it waits for its next attempt.
    ///
    /// # Errors
    ///
    /// When the disk takes nothing. The call is still taken.
    pub(crate) async fn settle(
        &self,
        id: Id,
        invocation: &Invocation,
        answer: Option<Answer>,
    ) -> Result<(), StoreError> {
        let mut rows = vec![change(Rows::Invocations, id, Some(row::json(invocation)?))];
        let mut bytes = 0;
        if let Some(Answer { head, body }) = answer {
            let row = row::with_body(&head, &body)?;
            bytes += row.len() as u64;
            rows.push(change(Rows::Answers, id, Some(row)));
        }
        if invocation.state == State::Failed {
            bytes += invocation.bytes;
        } else if invocation.is_over() {
            if bytes == 0 {
                // It was written when the callback was begun.
                bytes = invocation.answer_bytes();
            }
            rows.push(change(Rows::Calls, id, None));
        }
        self.0.writer.write(rows).await?;
        self.0.observer.settled(invocation);
        if invocation.is_over() {
            self.index().finish(id, invocation, bytes);
        } else {
            let due = Instant::now() + pause(invocation, Timestamp::now());
            self.wait(id, invocation, due);
        }
        Ok(())
    }

    /// Lets a call that was taken wait again, as if it had not been.
    pub(crate) fn give_back(&self, id: Id, invocation: &Invocation, pause: Duration) {
        self.wait(id, invocation, Instant::now() + pause);
    }

    /// Lets a call that was taken wait again, and for no others with which it is made: it has done so.
    pub(crate) fn leave_over(&self, id: Id, invocation: &Invocation) {
        let batch = invocation.batch();
        let waited = batch.map_or(Duration::ZERO, |batch| Duration::from_millis(batch.wait));
        let now = Instant::now();
        self.wait(id, invocation, now.checked_sub(waited).unwrap_or(now));
    }

    /// What is known of a call, and whether it is just being made.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) async fn get(&self, id: Id) -> Result<Option<(Invocation, bool)>, StoreError> {
        let backend = self.0.backend.clone();
        let row = on_disk(move || backend.get(Rows::Invocations, id)).await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let invocation: Invocation = row::read(&row)?;
        let running = self.index().is_running(&invocation.key(), id);
        Ok(Some((invocation, running)))
    }

    /// What was answered to a call that is over.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) async fn answer(&self, id: Id) -> Result<Option<Answer>, StoreError> {
        let backend = self.0.backend.clone();
        on_disk(move || {
            let row = backend.get(Rows::Answers, id)?;
            row.map(|row| {
                let (head, body) = row::split(row)?;
                Ok(Answer { head, body })
            })
            .transpose()
        })
        .await
    }

    /// A call that was taken cannot be made, since what is to be sent is not there any more: it has failed.
    pub(crate) async fn lose(&self, function: &Key, id: Id) {
        let known = self.get(id).await;
        let mut place = None;
        if let Ok(Some((mut invocation, _))) = known {
            place = invocation.place().cloned();
            invocation.message = Some("what was to be sent is lost".to_owned());
            invocation.finish(State::Failed, Timestamp::now());
            loop {
                match self.settle(id, &invocation, None).await {
                    Ok(()) => return,
                    Err(StoreError::Closed) => break,
                    // Its room is its namespace's until it is written that it has failed.
                    Err(_) => tokio::time::sleep(WRITE_AGAIN).await,
                }
            }
        }
        self.index().lose(function, id, place.as_ref());
    }

    /// Whether a call of a function in the namespace is just being made.
    #[must_use]
    pub(crate) fn is_running_in(&self, namespace: &str, id: Id) -> bool {
        self.index().is_running_in(namespace, id)
    }

    /// The functions whose calls wait, and how many.
    #[must_use]
    pub(crate) fn backlogs(&self) -> Vec<(Key, Backlog)> {
        self.index().backlogs()
    }

    /// Room that waiting calls take, and that they may take, in bytes.
    #[must_use]
    pub(crate) fn room(&self) -> (u64, u64) {
        (self.index().waiting_bytes(), self.0.bounds.bytes)
    }

    /// Whether the disk has room for what is kept already, and no more.
    #[must_use]
    pub(crate) fn is_short(&self) -> bool {
        self.0.backend.is_short()
    }

    /// The functions of which calls are due or being made, and how many; those that are due are counted up to a number.
    #[must_use]
    pub(crate) fn due(&self, most: u32) -> Vec<fermata_crds::backlog::Backlog> {
        self.index().due(Instant::now(), most)
    }

    /// How the functions stand that have calls which are not over, or a trigger that fails.
    #[must_use]
    pub(crate) fn standings(&self) -> fermata_crds::backlog::Standings {
        self.index().standings()
    }

    /// How many calls are over and known.
    #[must_use]
    pub(crate) fn records(&self) -> usize {
        self.index().over()
    }

    fn wait(&self, id: Id, invocation: &Invocation, due: Instant) {
        let waits = self.index().wait(id, invocation, due);
        match waits {
            Waits::First => {
                // Nobody is there to make calls: the program stops.
                let _ = self.0.active.send(invocation.key());
            }
            Waits::Behind => {}
            Waits::CalledOff => {
                let (store, mut invocation) = (self.clone(), invocation.clone());
                invocation.finish(State::Cancelled, Timestamp::now());
                // It ends with the store: then the call waits, as on the disk.
                tokio::spawn(async move {
                    while let Err(error) = store.settle(id, &invocation, None).await {
                        if matches!(error, StoreError::Closed) {
                            break;
                        }
                        tokio::time::sleep(WRITE_AGAIN).await;
                    }
                });
            }
        }
    }

    /// Removes what an attempt to write has perhaps left, as soon as the disk takes that.
    fn remove_unconfirmed(&self, id: Id) {
        let writer = self.0.writer.clone();
        tokio::spawn(async move {
            while let Err(error) = writer.write(removal(id).into()).await {
                if matches!(error, StoreError::Closed) {
                    break;
                }
                tokio::time::sleep(WRITE_AGAIN).await;
            }
        });
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything there is of a call goes.
fn removal(id: Id) -> [Change; 3] {
    [Rows::Invocations, Rows::Calls, Rows::Answers].map(|table| change(table, id, None))
}

fn change(table: Rows, id: Id, row: Option<Vec<u8>>) -> Change {
    Change { table, id, row }
}

/// How long a call waits from now on. A clock that was put back makes it no longer than any pause is.
fn pause(invocation: &Invocation, now: Timestamp) -> Duration {
    let Some(next) = invocation.next_attempt_at else {
        return Duration::ZERO;
    };
    let left: Duration = next.duration_since(now).try_into().unwrap_or_default();
    left.min(invocation.delivery.longest_pause().max(LONGEST_RETRY_AFTER))
}

/// How long nothing is written again that the disk has not taken.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// Reads from the disk where nobody else has to wait for it.
async fn on_disk<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|_| StoreError::Closed)?
}

#[cfg(test)]
mod tests;
