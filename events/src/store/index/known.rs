//! All calls of each function, waiting and over, in the order of their names.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use fermata_daemon::watch::Key;

use crate::{
    id::Id,
    invocation::{Invocation, State},
};

/// The most calls that are looked at for one page, whatever is looked for: others wait meanwhile.
const LOOKED_AT: usize = 10_000;

/// Which way a list goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Order {
    /// The oldest first.
    Oldest,
    /// The newest first.
    Newest,
}

/// A part of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Part {
    /// The calls, in order.
    pub(crate) ids: Vec<Id>,
    /// Behind which the rest begins, if there is one. A part may be short all the same, or empty.
    pub(crate) next: Option<Id>,
}

/// A function: what an earlier one of its name was sent may have been another tenant's.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Owner {
    /// Namespace and name.
    pub(crate) function: Key,
    /// What tells it from others of its name.
    pub(crate) uid: Box<str>,
}

/// Calls by function.
#[derive(Debug, Default)]
pub(super) struct Known {
    functions: HashMap<Owner, Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    states: BTreeMap<Id, State>,
    failed: usize,
}

// === impl Owner ===

impl Owner {
    /// The function that is called.
    pub(crate) fn of(invocation: &Invocation) -> Self {
        Self {
            function: invocation.key(),
            uid: invocation.uid.clone(),
        }
    }
}

// === impl Known ===

impl Known {
    /// A call stands so from now on.
    pub(super) fn set(&mut self, function: Owner, id: Id, state: State) {
        let calls = self.functions.entry(function).or_default();
        let before = calls.states.insert(id, state);
        calls.failed += usize::from(state == State::Failed);
        calls.failed -= usize::from(before == Some(State::Failed));
    }

    /// Nothing is known of a call any more.
    pub(super) fn forget(&mut self, function: &Owner, id: Id) {
        if let Some(calls) = self.functions.get_mut(function) {
            let before = calls.states.remove(&id);
            calls.failed -= usize::from(before == Some(State::Failed));
            if calls.states.is_empty() {
                self.functions.remove(function);
            }
        }
    }

    /// How many calls of a function have failed.
    pub(super) fn failed(&self, function: &Owner) -> usize {
        self.functions.get(function).map_or(0, |calls| calls.failed)
    }

    /// The functions of which calls have failed, and how many.
    pub(super) fn all_failed(&self) -> impl Iterator<Item = (&Key, usize)> {
        let functions = self.functions.iter();
        functions
            .map(|(owner, calls)| (&owner.function, calls.failed))
            .filter(|(_, failed)| *failed > 0)
    }

    /// At most so many calls of a function that are wanted, behind the one that was last.
    pub(super) fn part(
        &self,
        function: &Owner,
        (order, behind): (Order, Option<Id>),
        most: usize,
        is_wanted: impl Fn(Id, State) -> bool,
    ) -> Part {
        let mut part = Part {
            ids: Vec::new(),
            next: None,
        };
        let Some(calls) = self.functions.get(function) else {
            return part;
        };
        let edge = behind.map_or(Bound::Unbounded, Bound::Excluded);
        let mut up = calls.states.range((edge, Bound::Unbounded));
        let mut down = calls.states.range((Bound::Unbounded, edge));
        let mut next = || match order {
            Order::Oldest => up.next(),
            Order::Newest => down.next_back(),
        };
        let (mut last, mut looked_at) = (None, 0);
        while let Some((id, state)) = next() {
            if part.ids.len() == most || looked_at == LOOKED_AT {
                part.next = last;
                break;
            }
            if is_wanted(*id, *state) {
                part.ids.push(*id);
            }
            (last, looked_at) = (Some(*id), looked_at + 1);
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> Id {
        let mut bytes = [0; 16];
        bytes[15] = number;
        Id::of(bytes)
    }

    fn owner(name: &str) -> Owner {
        Owner {
            function: Key::new("shop", name),
            uid: "u-1".into(),
        }
    }

    fn known(calls: u8) -> (Known, Owner) {
        let (mut known, key) = (Known::default(), owner("orders"));
        for number in 1..=calls {
            let state = match number % 3 {
                0 => State::Failed,
                _ => State::Waiting,
            };
            known.set(key.clone(), id(number), state);
        }
        (known, key)
    }

    #[test]
    fn parts_make_the_whole_in_both_orders() {
        let (known, key) = known(20);
        for order in [Order::Oldest, Order::Newest] {
            let (mut all, mut behind) = (Vec::new(), None);
            loop {
                let part = known.part(&key, (order, behind), 3, |_, _| true);
                assert!(part.ids.len() <= 3);
                all.extend(part.ids);
                behind = part.next;
                if behind.is_none() {
                    break;
                }
            }
            let mut expected: Vec<Id> = (1..=20).map(id).collect();
            if order == Order::Newest {
                expected.reverse();
            }
            assert_eq!(all, expected);
        }
        let later = Owner {
            uid: "u-2".into(),
            ..owner("orders")
        };
        for other in [owner("other"), later] {
            let part = known.part(&other, (Order::Oldest, None), 3, |_, _| true);
            assert_eq!((part.ids.len(), part.next), (0, None));
        }
    }

    #[test]
    fn failed_ones_are_counted_as_they_come_and_go() {
        let (mut known, key) = known(9);
        assert_eq!(known.failed(&key), 3);
        known.set(key.clone(), id(3), State::Waiting);
        known.set(key.clone(), id(4), State::Failed);
        known.set(key.clone(), id(4), State::Failed);
        known.forget(&key, id(6));
        known.forget(&key, id(6));
        assert_eq!(known.failed(&key), 2);
        let failed = known.part(&key, (Order::Oldest, None), 100, |_, state| {
            state == State::Failed
        });
        assert_eq!(failed.ids, [id(4), id(9)]);
        for number in 1..=9 {
            known.forget(&key, id(number));
        }
        assert_eq!(known.all_failed().count(), 0);
        assert!(known.functions.is_empty());
    }
}
