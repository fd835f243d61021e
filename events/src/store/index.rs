//! What of the store is in memory: which calls wait, for what and since when, and how much room they take.

mod due;
mod known;
mod lists;
mod queue;
mod standing;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use fermata_daemon::watch::Key;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    id::Id,
    invocation::{Idempotency, Invocation, Place, RECORD, State},
};

use super::{Bounds, Refused};
use known::Known;
use queue::Queue;
use standing::Standing;

pub(crate) use known::{Order, Owner, Part};

/// Whose call it is that is to have room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum For {
    /// Somebody calls or publishes.
    Caller,
    /// A function answers to a message. There is always some room for that which callers do not have: a message is done,
    /// and frees its own room, when its answer is kept.
    Answer,
}

/// Answers have a part more than callers, which is so many times smaller than theirs.
const FOR_ANSWERS: u64 = 10;

/// Everything in memory.
#[derive(Debug, Default)]
pub(super) struct Index {
    queues: HashMap<Key, Queue>,
    /// Calls by the key by which their callers make them once.
    keys: HashMap<Fingerprint, Keyed>,
    /// Room that waiting calls take, by namespace.
    waiting: HashMap<Box<str>, Usage>,
    waiting_bytes: u64,
    /// What is over, by namespace; the oldest first.
    over: HashMap<Box<str>, Over>,
    over_bytes: u64,
    /// What is on the disk, by function.
    known: Known,
    /// What is not over, by function and trigger.
    standing: Standing,
    /// The last number of a place in a line.
    last_place: u64,
}

#[derive(Debug)]
struct Keyed {
    id: Id,
    digest: Fingerprint,
    /// Whether it is on the disk.
    kept: bool,
}

/// What stands for a text in memory: no two texts have the same one.
type Fingerprint = [u8; 16];

#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    calls: u64,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Over {
    calls: BTreeMap<(Timestamp, Id), u64>,
    bytes: u64,
}

/// How many calls of a function wait, and since when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Backlog {
    /// Those that wait for an attempt.
    pub(crate) waiting: usize,
    /// Those that are being made.
    pub(crate) running: usize,
    /// The oldest of them.
    pub(crate) oldest: Option<Id>,
}

/// What a function has to do.
#[derive(Debug)]
pub(crate) enum Next {
    /// This call, and what calls it off.
    Take(Id, CancellationToken),
    /// These calls, in one request, and what calls off each of them.
    TakeAll(Vec<(Id, CancellationToken)>),
    /// Nothing before that time.
    Wait(Instant),
    /// Nothing but what is being made.
    Running,
    /// Nothing at all: its queue is gone.
    Nothing,
}

// === impl For ===

impl For {
    /// How much of it there is for this.
    fn part_of(self, all: u64) -> u64 {
        match self {
            Self::Caller => all,
            Self::Answer => all + all / FOR_ANSWERS,
        }
    }
}

// === impl Index ===

impl Index {
    /// Makes room for a call before it is written; `Some` is an earlier one that is the same.
    pub(super) fn reserve(
        &mut self,
        bounds: &Bounds,
        id: Id,
        invocation: &Invocation,
        purpose: For,
    ) -> Result<Option<Id>, Refused> {
        if let Some(Idempotency { key, digest }) = &invocation.idempotency {
            match self.keys.get(&fingerprint_of_key(invocation, key)) {
                Some(known) if known.digest != fingerprint(&[digest]) => {
                    return Err(Refused::KeyReused);
                }
                Some(known) if known.kept => return Ok(Some(known.id)),
                Some(_) => return Err(Refused::KeyInUse),
                None => {}
            }
        }
        let usage = self.waiting.get(&invocation.namespace).copied();
        let usage = usage.unwrap_or_default();
        let (calls, bytes) = (purpose.part_of(bounds.calls), purpose.part_of(bounds.bytes));
        let share = bytes / 4;
        if usage.calls >= calls || usage.bytes + invocation.bytes > share {
            return Err(Refused::NamespaceFull {
                calls,
                bytes: share,
            });
        }
        if self.waiting_bytes + invocation.bytes > bytes {
            return Err(Refused::Full { bytes });
        }
        self.use_room(invocation);
        self.know(id, invocation, false);
        Ok(None)
    }

    /// The number of the next place in a line.
    pub(super) fn next_place(&mut self) -> u64 {
        self.last_place += 1;
        self.last_place
    }

    /// Gives the room back of a call that was not written.
    pub(super) fn forget(&mut self, invocation: &Invocation) {
        self.free_room(invocation);
        self.forget_key(invocation);
    }

    /// A call that is on the disk waits from now on, unless it was called off while it was being made.
    pub(super) fn wait(&mut self, id: Id, invocation: &Invocation, due: Instant) -> Waits {
        self.know(id, invocation, true);
        let key = invocation.key();
        self.known.set(Owner::of(invocation), id, State::Waiting);
        self.standing.wait(id, invocation);
        let begins = !self.queues.contains_key(&key);
        let queue = self.queues.entry(key).or_default();
        match queue.wait(id, invocation, due) {
            // Nobody makes it until that is on the disk.
            false => Waits::CalledOff,
            true if begins => Waits::First,
            true => Waits::Behind,
        }
    }

    /// A call that was taken is not there any more.
    pub(super) fn lose(&mut self, function: &Key, id: Id, place: Option<&Place>) {
        if let Some(queue) = self.queues.get_mut(function) {
            queue.remove(id, place, Instant::now());
        }
        self.standing.lose(function, id);
    }

    /// A call of an earlier run of the program, with the room it takes.
    pub(super) fn load(&mut self, id: Id, invocation: &Invocation, bytes: u64, due: Instant) {
        let place = invocation.place().map_or(0, |place| place.number);
        self.last_place = self.last_place.max(place);
        if invocation.is_over() {
            self.know(id, invocation, true);
            self.keep(id, invocation, bytes);
        } else {
            self.use_room(invocation);
            self.wait(id, invocation, due);
        }
    }

    /// A call is over, and its record takes that room.
    pub(super) fn finish(&mut self, id: Id, invocation: &Invocation, bytes: u64) {
        self.free_room(invocation);
        self.standing.finish(id, invocation);
        if let Some(queue) = self.queues.get_mut(&invocation.key()) {
            queue.remove(id, invocation.place(), Instant::now());
        }
        self.keep(id, invocation, bytes);
    }

    /// A call that was over, and stood so before, waits once more: it is no record any more. False if it is none already.
    pub(super) fn revive(
        &mut self,
        bounds: &Bounds,
        id: Id,
        before: &Invocation,
        after: &Invocation,
    ) -> Result<bool, Refused> {
        let over = self.over.get(&before.namespace);
        if !over.is_some_and(|over| over.calls.contains_key(&(before.kept_until(), id))) {
            return Ok(false);
        }
        // What was kept of its answer is gone, and takes no room.
        let again = Invocation {
            idempotency: None,
            ..after.clone()
        };
        self.reserve(bounds, id, &again, For::Caller)?;
        self.remove_over(&before.namespace, (before.kept_until(), id));
        Ok(true)
    }

    /// A call that was revived is a record again, as it was before.
    pub(super) fn revoke(&mut self, id: Id, before: &Invocation, after: &Invocation) {
        self.free_room(after);
        self.keep(id, before, before.bytes);
    }

    /// What the function has to do, and takes it.
    pub(super) fn next(&mut self, function: &Key, now: Instant) -> Next {
        let Some(queue) = self.queues.get_mut(function) else {
            return Next::Nothing;
        };
        queue.next(now).unwrap_or_else(|| {
            self.queues.remove(function);
            Next::Nothing
        })
    }

    /// What tells that the function has more to do.
    pub(super) fn changed(&self, function: &Key) -> Option<Arc<Notify>> {
        self.queues.get(function).map(Queue::changed)
    }

    /// Takes a call that waits out of its queue, so that nobody makes it; tells one that is being made.
    pub(super) fn call_off(&mut self, id: Id, invocation: &Invocation) -> Option<CalledOff> {
        let queue = self.queues.get_mut(&invocation.key())?;
        queue.call_off(id, invocation)
    }

    /// Whether a call is being made.
    pub(super) fn is_running(&self, function: &Key, id: Id) -> bool {
        let queue = self.queues.get(function);
        queue.is_some_and(|queue| queue.is_running(id))
    }

    /// Whether a call of a function in the namespace is being made.
    pub(super) fn is_running_in(&self, namespace: &str, id: Id) -> bool {
        let mut queues = self.queues.iter();
        queues.any(|(key, queue)| &*key.namespace == namespace && queue.is_running(id))
    }

    /// The functions whose calls wait.
    pub(super) fn functions(&self) -> Vec<Key> {
        self.queues.keys().cloned().collect()
    }

    /// The functions whose calls wait, and how many.
    pub(super) fn backlogs(&self) -> Vec<(Key, Backlog)> {
        let queues = self.queues.iter();
        let backlogs = queues.map(|(key, queue)| (key.clone(), queue.backlog()));
        backlogs.collect()
    }

    /// Room that waiting calls take, in bytes.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// Calls that are over and whose records are there.
    pub(super) fn over(&self) -> usize {
        self.over.values().map(|over| over.calls.len()).sum()
    }

    /// Takes out the next record to be removed: its time is over, or there is no room; then it is one of the namespace
    /// that has the most of what there is too much of.
    pub(super) fn stale(&mut self, bounds: &Bounds, now: Timestamp) -> Option<Stale> {
        let past = self.over.iter().find_map(|(namespace, over)| {
            let (key, bytes) = over.calls.first_key_value()?;
            (key.0 <= now).then(|| (namespace.clone(), *key, *bytes))
        });
        let large = || {
            let namespaces = self.over.iter();
            let (namespace, over) = if self.over_bytes > bounds.bytes {
                namespaces.max_by_key(|(_, over)| over.bytes)
            } else if self.over() > bounds.records {
                namespaces.max_by_key(|(_, over)| over.calls.len())
            } else {
                None
            }?;
            let (key, bytes) = over.calls.first_key_value()?;
            Some((namespace.clone(), *key, *bytes))
        };
        let for_room = past.is_none();
        let (namespace, key, bytes) = past.or_else(large)?;
        self.remove_over(&namespace, key);
        Some(Stale {
            namespace,
            key,
            bytes,
            for_room,
        })
    }

    /// Puts a record back that could not be removed.
    pub(super) fn put_back(&mut self, stale: &Stale) {
        self.add_over(&stale.namespace, stale.key, stale.bytes);
    }

    /// Forgets the key of a call whose record is removed.
    fn forget_key(&mut self, invocation: &Invocation) {
        if let Some(Idempotency { key, .. }) = &invocation.idempotency {
            self.keys.remove(&fingerprint_of_key(invocation, key));
        }
    }

    fn know(&mut self, id: Id, invocation: &Invocation, kept: bool) {
        if let Some(Idempotency { key, digest }) = &invocation.idempotency {
            let keyed = Keyed {
                id,
                digest: fingerprint(&[digest]),
                kept,
            };
            let key = fingerprint_of_key(invocation, key);
            self.keys.insert(key, keyed);
        }
    }

    fn keep(&mut self, id: Id, invocation: &Invocation, bytes: u64) {
        // What is known of it takes room as well.
        let bytes = bytes + RECORD as u64;
        let key = (invocation.kept_until(), id);
        self.add_over(&invocation.namespace, key, bytes);
        self.known.set(Owner::of(invocation), id, invocation.state);
    }

    fn add_over(&mut self, namespace: &str, key: (Timestamp, Id), bytes: u64) {
        let over = self.over.entry(namespace.into()).or_default();
        over.calls.insert(key, bytes);
        over.bytes += bytes;
        self.over_bytes += bytes;
    }

    fn remove_over(&mut self, namespace: &str, key: (Timestamp, Id)) {
        let Some(over) = self.over.get_mut(namespace) else {
            return;
        };
        if let Some(bytes) = over.calls.remove(&key) {
            over.bytes -= bytes;
            self.over_bytes -= bytes;
        }
        if over.calls.is_empty() {
            self.over.remove(namespace);
        }
    }

    fn use_room(&mut self, invocation: &Invocation) {
        let usage = self
            .waiting
            .entry(invocation.namespace.clone())
            .or_default();
        usage.calls += 1;
        usage.bytes += invocation.bytes;
        self.waiting_bytes += invocation.bytes;
    }

    fn free_room(&mut self, invocation: &Invocation) {
        if let Some(usage) = self.waiting.get_mut(&invocation.namespace) {
            usage.calls -= 1;
            usage.bytes -= invocation.bytes;
            self.waiting_bytes -= invocation.bytes;
            if usage.calls == 0 {
                self.waiting.remove(&invocation.namespace);
            }
        }
    }
}

fn fingerprint_of_key(invocation: &Invocation, key: &str) -> Fingerprint {
    fingerprint(&[&invocation.namespace, &invocation.function, key])
}

fn fingerprint(texts: &[&str]) -> Fingerprint {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update(text.len().to_be_bytes());
        digest.update(text);
    }
    let digest = digest.finalize();
    std::array::from_fn(|at| digest[at])
}

/// A record that is to be removed.
#[derive(Debug)]
pub(super) struct Stale {
    namespace: Box<str>,
    key: (Timestamp, Id),
    bytes: u64,
    /// Whether its time is not over yet.
    pub(super) for_room: bool,
}

// === impl Stale ===

impl Stale {
    pub(super) fn id(&self) -> Id {
        self.key.1
    }
}

/// What came of letting a call wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Waits {
    /// It is the first of its function.
    First,
    /// It waits with others.
    Behind,
    /// It was called off, and is held.
    CalledOff,
}

/// What came of calling a call off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CalledOff {
    /// It is told, and ends.
    Running,
    /// Nobody makes it.
    Taken,
}
