//! The calls of one function that wait and that are being made.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Backlog, CalledOff, Next};
use crate::{
    id::Id,
    invocation::{Batch, Invocation, Left, Place, RECORD},
};

/// The most bytes of messages that are taken to be made together, but for one that is larger: they are read at once.
const TOGETHER: u64 = 1024 * 1024;

/// A queue. Each call of it is due at some time, is being made, or stands in a line behind another one.
#[derive(Debug, Default)]
pub(super) struct Queue {
    due: BTreeSet<(Instant, Id)>,
    /// Those that are being made, and what calls them off.
    running: HashMap<Id, Running>,
    /// Calls of which one is made after the other.
    lines: HashMap<Box<str>, Line>,
    /// Calls that are made together; one of each group is due for all of them.
    groups: HashMap<Box<str>, Group>,
    /// The group for which a call is due.
    heads: HashMap<Id, Box<str>>,
    /// How many stand behind others.
    behind: usize,
    changed: Arc<Notify>,
    oldest: BTreeSet<Id>,
}

/// A call that is being made.
#[derive(Debug)]
struct Running {
    /// What calls it off.
    off: CancellationToken,
    /// Whether it is the first of those that are made together, or the only one.
    first: bool,
}

/// One that is due or being made, and those that come after it.
#[derive(Debug)]
struct Line {
    first: Id,
    /// By their places.
    behind: BTreeMap<u64, Id>,
}

/// Calls that are made together.
#[derive(Debug)]
struct Group {
    size: usize,
    /// How long one waits for others.
    wait: Duration,
    /// How many bytes each has.
    calls: BTreeMap<(Instant, Id), u64>,
    /// What is due for them.
    head: Option<(Instant, Id)>,
}

// === impl Queue ===

impl Queue {
    /// A call waits until then, or behind those of its line. False if it was called off while it was being made: then it
    /// is held, so that nobody makes it.
    pub(super) fn wait(&mut self, id: Id, invocation: &Invocation, due: Instant) -> bool {
        if let Some(running) = self.running.get(&id)
            && running.off.is_cancelled()
        {
            return false;
        }
        self.running.remove(&id);
        self.oldest.insert(id);
        let place = invocation.place();
        if invocation.left() != Left::Call {
            // The function has had it: those behind it do not wait until others are told.
            if let Some(place) = place {
                self.step_out(id, place, Instant::now());
            }
            self.due.insert((due, id));
        } else if let Some(batch) = invocation.batch() {
            self.gather(id, batch, invocation.bytes, due);
        } else if place.is_none_or(|place| self.stand(id, place)) {
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
                if let Some(group) = self.heads.get(&id).cloned() {
                    return Some(Next::TakeAll(self.take_all(&group, now)));
                }
                self.due.pop_first();
                let off = self.run(id, true);
                Some(Next::Take(id, off))
            }
            Some((due, _)) => Some(Next::Wait(due)),
            None if !self.running.is_empty() => Some(Next::Running),
            None => None,
        }
    }

    /// Takes a call that waits, so that nobody makes it; tells one that is being made. None if it is neither.
    pub(super) fn call_off(&mut self, id: Id, invocation: &Invocation) -> Option<CalledOff> {
        if let Some(running) = self.running.get(&id) {
            running.off.cancel();
            return Some(CalledOff::Running);
        }
        let line = invocation.place();
        let line = line.and_then(|place| Some((self.lines.get_mut(&place.line)?, place.number)));
        let stood = line.is_some_and(|(line, number)| line.behind.remove(&number).is_some());
        if stood {
            self.behind -= 1;
        } else if let Some(batch) = invocation.batch() {
            let group = self.groups.get_mut(&batch.group)?;
            let mut calls = group.calls.keys();
            let entry = *calls.find(|(_, waiting)| *waiting == id)?;
            group.calls.remove(&entry);
            self.set_head(&batch.group);
        } else {
            let mut due = self.due.iter();
            let entry = due.find(|(_, waiting)| *waiting == id).copied()?;
            self.due.remove(&entry);
        }
        self.run(id, true);
        Some(CalledOff::Taken)
    }

    /// Whether a call is being made.
    pub(super) fn is_running(&self, id: Id) -> bool {
        self.running.contains_key(&id)
    }

    /// The requests that are being made.
    pub(super) fn requests(&self) -> impl Iterator<Item = &Id> {
        let running = self.running.iter();
        running.filter(|(_, call)| call.first).map(|(id, _)| id)
    }

    /// How many requests could be made now, counted up to a number.
    pub(super) fn due(&self, now: Instant, most: usize) -> usize {
        let due = self.due.iter().take_while(|(due, _)| *due <= now);
        let mut requests = 0;
        for (_, id) in due {
            let group = self.heads.get(id).and_then(|group| self.groups.get(group));
            requests += group.map_or(1, |group| group.due(now, most));
            if requests >= most {
                return most;
            }
        }
        requests
    }

    /// Whether anything is being made, or could be.
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        let first = self.due.first();
        !self.running.is_empty() || first.is_some_and(|(due, _)| *due <= now)
    }

    /// What tells that there is more to do.
    pub(super) fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    /// How many calls there are.
    pub(super) fn backlog(&self) -> Backlog {
        Backlog {
            waiting: self.due.len() + self.behind + self.gathered(),
            running: self.running.len(),
            oldest: self.oldest.first().copied(),
        }
    }

    fn run(&mut self, id: Id, first: bool) -> CancellationToken {
        let off = CancellationToken::new();
        let running = Running {
            off: off.clone(),
            first,
        };
        self.running.insert(id, running);
        off
    }

    /// A call waits for others of its group.
    fn gather(&mut self, id: Id, batch: &Batch, bytes: u64, due: Instant) {
        let group = self.groups.entry(batch.group.clone());
        let group = group.or_insert_with(|| Group {
            size: 1,
            wait: Duration::ZERO,
            calls: BTreeMap::new(),
            head: None,
        });
        // As the newest one says.
        group.size = usize::try_from(batch.size).unwrap_or(1).max(1);
        group.wait = Duration::from_millis(batch.wait);
        group.calls.insert((due, id), bytes);
        self.set_head(&batch.group);
    }

    /// Takes those of a group that are due, as many as go together.
    fn take_all(&mut self, name: &str, now: Instant) -> Vec<(Id, CancellationToken)> {
        let (mut taken, mut all) = (Vec::new(), 0_u64);
        if let Some(group) = self.groups.get_mut(name) {
            while taken.len() < group.size
                && let Some(((due, id), bytes)) = group.calls.pop_first()
            {
                // What is known of each is not sent.
                all = all.saturating_add(bytes.saturating_sub(RECORD as u64));
                if due > now || !taken.is_empty() && all > TOGETHER {
                    group.calls.insert((due, id), bytes);
                    break;
                }
                taken.push(id);
            }
        }
        self.set_head(name);
        let taken = taken.into_iter().enumerate();
        taken.map(|(at, id)| (id, self.run(id, at == 0))).collect()
    }

    /// One of a group is due for all of them: when there are enough, or when the first has waited for long enough.
    fn set_head(&mut self, name: &str) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let head = group.next_head();
        if head == group.head {
            return;
        }
        if let Some(old) = group.head.take() {
            self.due.remove(&old);
            self.heads.remove(&old.1);
        }
        group.head = head;
        match head {
            Some((due, id)) => {
                self.due.insert((due, id));
                self.heads.insert(id, name.into());
            }
            None => {
                self.groups.remove(name);
            }
        }
    }

    /// How many wait besides those that are due for their groups.
    fn gathered(&self) -> usize {
        let groups = self.groups.values();
        groups
            .map(|group| group.calls.len().saturating_sub(1))
            .sum()
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

// === impl Group ===

impl Group {
    /// What is to be due for all of them.
    fn next_head(&self) -> Option<(Instant, Id)> {
        let (first, id) = *self.calls.first_key_value()?.0;
        if self.wait.is_zero() {
            return Some((first, id));
        }
        let patience = first + self.wait;
        let full = self.calls.keys().nth(self.size - 1);
        let due = full.map_or(patience, |(full, _)| patience.min(*full));
        Some((due, id))
    }

    /// How many requests those are that could be made now.
    fn due(&self, now: Instant, most: usize) -> usize {
        let due = self.calls.keys().take_while(|(due, _)| *due <= now);
        due.take(most.saturating_mul(self.size))
            .count()
            .div_ceil(self.size)
    }
}
