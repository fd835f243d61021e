//! The calls of one function that wait and that are being made.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Backlog, CalledOff, Next};
use crate::{id::Id, invocation::Place};

/// A queue. Each call of it is due at some time, is being made, or stands in a line behind another one.
#[derive(Debug, Default)]
pub(super) struct Queue {
    due: BTreeSet<(Instant, Id)>,
    /// Those that are being made, and what calls them off.
    running: HashMap<Id, CancellationToken>,
    /// Calls of which one is made after the other.
    lines: HashMap<Box<str>, Line>,
    /// How many stand behind others.
    behind: usize,
    changed: Arc<Notify>,
    oldest: BTreeSet<Id>,
}

/// One that is due or being made, and those that come after it.
#[derive(Debug)]
struct Line {
    first: Id,
    /// By their places.
    behind: BTreeMap<u64, Id>,
}

// === impl Queue ===

impl Queue {
    /// A call waits until then, or behind those of its line. False if it was called off while it was being made: then it
    /// is held, so that nobody makes it.
    pub(super) fn wait(&mut self, id: Id, place: Option<&Place>, due: Instant) -> bool {
        if let Some(off) = self.running.get(&id)
            && off.is_cancelled()
        {
            return false;
        }
        self.running.remove(&id);
        self.oldest.insert(id);
        let is_first = place.is_none_or(|place| self.stand(id, place));
        if is_first {
            self.due.insert((due, id));
        }
        self.changed.notify_one();
        true
    }

    /// A call is not there any more; the next one of its line is due.
    pub(super) fn remove(&mut self, id: Id, place: Option<&Place>, now: Instant) {
        self.running.remove(&id);
        self.oldest.remove(&id);
        if let Some(place) = place {
            self.step_out(id, place, now);
        }
        self.changed.notify_one();
    }

    /// What is to be done, and takes it. None if there is nothing and will be nothing.
    pub(super) fn next(&mut self, now: Instant) -> Option<Next> {
        match self.due.first().copied() {
            Some((due, id)) if due <= now => {
                self.due.pop_first();
                let off = CancellationToken::new();
                self.running.insert(id, off.clone());
                Some(Next::Take(id, off))
            }
            Some((due, _)) => Some(Next::Wait(due)),
            None if !self.running.is_empty() => Some(Next::Running),
            None => None,
        }
    }

    /// Takes a call that waits, so that nobody makes it; tells one that is being made. None if it is neither.
    pub(super) fn call_off(&mut self, id: Id, place: Option<&Place>) -> Option<CalledOff> {
        if let Some(off) = self.running.get(&id) {
            off.cancel();
            return Some(CalledOff::Running);
        }
        let line = place.and_then(|place| Some((self.lines.get_mut(&place.line)?, place.number)));
        let stood = line.is_some_and(|(line, number)| line.behind.remove(&number).is_some());
        if stood {
            self.behind -= 1;
        } else {
            let mut due = self.due.iter();
            let entry = due.find(|(_, waiting)| *waiting == id).copied()?;
            self.due.remove(&entry);
        }
        self.running.insert(id, CancellationToken::new());
        Some(CalledOff::Taken)
    }

    /// Whether a call is being made.
    pub(super) fn is_running(&self, id: Id) -> bool {
        self.running.contains_key(&id)
    }

    /// Those that are being made.
    pub(super) fn running(&self) -> impl Iterator<Item = &Id> {
        self.running.keys()
    }

    /// Those that could be made now.
    pub(super) fn due(&self, now: Instant) -> impl Iterator<Item = &(Instant, Id)> {
        self.due.iter().take_while(move |(due, _)| *due <= now)
    }

    /// Whether there is one of these or those.
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        !self.running.is_empty() || self.due(now).next().is_some()
    }

    /// What tells that there is more to do.
    pub(super) fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    /// How many calls there are.
    pub(super) fn backlog(&self) -> Backlog {
        Backlog {
            waiting: self.due.len() + self.behind,
            running: self.running.len(),
            oldest: self.oldest.first().copied(),
        }
    }

    /// Whether a call is the first of its line; if not, it stands in it.
    fn stand(&mut self, id: Id, place: &Place) -> bool {
        let Some(line) = self.lines.get_mut(&place.line) else {
            let line = Line {
                first: id,
                behind: BTreeMap::new(),
            };
            self.lines.insert(place.line.clone(), line);
            return true;
        };
        if line.first == id {
            return true;
        }
        if line.behind.insert(place.number, id).is_none() {
            self.behind += 1;
        }
        false
    }

    /// Takes a call out of its line. If it was the first the next one is due.
    fn step_out(&mut self, id: Id, place: &Place, now: Instant) {
        let Some(line) = self.lines.get_mut(&place.line) else {
            return;
        };
        if line.first != id {
            return;
        }
        match line.behind.pop_first() {
            Some((_, next)) => {
                line.first = next;
                self.behind -= 1;
                self.due.insert((now, next));
            }
            None => {
                self.lines.remove(&place.line);
            }
        }
    }
}
