//! What whoever a function belongs to does with its calls.

use std::collections::HashMap;

use fermata_daemon::watch::Key;

use super::{Bounds, Index, Order, Owner, Part, Stale};
use crate::{
    id::Id,
    invocation::{Invocation, Standing},
};

// === impl Index ===

impl Index {
    /// Takes out the record of a call, so that nobody else removes it or has it tried anew. `None` if it is none.
    pub(in crate::store) fn take(&mut self, id: Id, invocation: &Invocation) -> Option<Stale> {
        let namespace = &invocation.namespace;
        let key = (invocation.kept_until(), id);
        let bytes = *self.over.get(namespace)?.calls.get(&key)?;
        self.remove_over(namespace, key);
        Some(Stale {
            namespace: namespace.clone(),
            key,
            bytes,
            for_room: false,
        })
    }

    /// Forgets a call whose record is removed.
    pub(in crate::store) fn forget_record(&mut self, id: Id, invocation: &Invocation) {
        self.known.forget(&Owner::of(invocation), id);
        self.forget_key(invocation);
    }

    /// At most so many calls of a function that stand so, behind the one that was last.
    pub(in crate::store) fn part(
        &self,
        owner: &Owner,
        from: (Order, Option<Id>),
        most: usize,
        wanted: Option<Standing>,
    ) -> Part {
        let queue = self.queues.get(&owner.function);
        let is_running = |id| queue.is_some_and(|queue| queue.is_running(id));
        self.known.part(owner, from, most, |id, state| {
            wanted.is_none_or(|wanted| wanted == Standing::of(state, is_running(id)))
        })
    }

    /// Makes room for the answer to a call that waits, until its callback is made. False if there is none.
    pub(in crate::store) fn make_room(
        &mut self,
        bounds: &Bounds,
        invocation: &Invocation,
        bytes: u64,
    ) -> bool {
        let Some(usage) = self.waiting.get_mut(&invocation.namespace) else {
            return false;
        };
        let fits =
            usage.bytes + bytes <= bounds.bytes / 4 && self.waiting_bytes + bytes <= bounds.bytes;
        if fits {
            usage.bytes += bytes;
            self.waiting_bytes += bytes;
        }
        fits
    }

    /// How many calls of a function have failed, without those of earlier ones of its name.
    pub(in crate::store) fn failed(&self, owner: &Owner) -> usize {
        self.known.failed(owner)
    }

    /// The functions of which calls have failed, and how many, with those of earlier ones of their names.
    pub(in crate::store) fn all_failed(&self) -> HashMap<Key, usize> {
        let mut all = HashMap::new();
        for (function, failed) in self.known.all_failed() {
            *all.entry(function.clone()).or_default() += failed;
        }
        all
    }
}
