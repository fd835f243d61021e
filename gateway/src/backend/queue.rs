//! A bounded first-in-first-out queue of requests that wait for something.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::oneshot;

use crate::sync::lock;

/// Why a waiting request is sent away.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// What it waits for cannot start; the sentence says why.
    StartFailed(Arc<str>),
    /// It should wait elsewhere.
    Moved,
    /// The gateway stops.
    Draining,
}

/// The queue has no more places.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Full;

/// Requests that wait for a `T`, oldest first.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    entries: Mutex<Entries<T>>,
    /// The number of entries, readable without the lock.
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Entries<T> {
    by_number: BTreeMap<i64, oneshot::Sender<Result<T, Refusal>>>,
    last: i64,
    first: i64,
}

/// A place in the queue; dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Place<'a, T> {
    queue: &'a Queue<T>,
    number: i64,
    outcome: oneshot::Receiver<Result<T, Refusal>>,
}

// === impl Queue ===

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            entries: Mutex::new(Entries {
                by_number: BTreeMap::new(),
                last: 0,
                first: 0,
            }),
            waiting: AtomicUsize::new(0),
        }
    }
}

impl<T> Queue<T> {
    /// How many wait. Sequentially consistent: who makes a `T` free and then sees 0 here can rely on
    /// whoever queues up later to see the free `T`.
    #[must_use]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Takes a place at the end, or at the front for one that has waited before.
    ///
    /// # Errors
    ///
    /// [`Full`] if `limit` wait already.
    pub(crate) fn join(&self, limit: usize, front: bool) -> Result<Place<'_, T>, Full> {
        let (sender, outcome) = oneshot::channel();
        let mut entries = lock(&self.entries);
        if entries.by_number.len() >= limit {
            return Err(Full);
        }
        let number = if front {
            entries.first -= 1;
            entries.first
        } else {
            entries.last += 1;
            entries.last
        };
        entries.by_number.insert(number, sender);
        self.count(&entries);
        drop(entries);
        Ok(Place {
            queue: self,
            number,
            outcome,
        })
    }

    /// Hands out what `next` yields, to the oldest first, until one of them runs out.
    ///
    /// `next` is called under the queue's lock and must not use the queue.
    pub(crate) fn serve(&self, mut next: impl FnMut() -> Option<T>) {
        let mut entries = lock(&self.entries);
        let mut spare = None;
        while !entries.by_number.is_empty() {
            let Some(item) = next() else { break };
            spare = hand_over(&mut entries, item);
        }
        self.count(&entries);
        // Dropped without the lock: giving it back may serve the queue again.
        drop(entries);
        drop(spare);
    }

    /// Sends everybody away.
    pub(crate) fn refuse_all(&self, refusal: &Refusal) {
        let mut entries = lock(&self.entries);
        let sent_away = std::mem::take(&mut entries.by_number);
        self.count(&entries);
        drop(entries);
        for sender in sent_away.into_values() {
            // A receiver that is gone needs no answer.
            let _ = sender.send(Err(refusal.clone()));
        }
    }

    fn count(&self, entries: &Entries<T>) {
        self.waiting
            .store(entries.by_number.len(), Ordering::SeqCst);
    }
}

/// Gives the item to the oldest who still wants it; returns it if nobody does.
fn hand_over<T>(entries: &mut Entries<T>, item: T) -> Option<T> {
    let mut item = item;
    while let Some((_, sender)) = entries.by_number.pop_first() {
        match sender.send(Ok(item)) {
            Ok(()) => return None,
            Err(Ok(back)) => item = back,
            // Not reachable: what comes back is what was sent.
            Err(Err(_)) => return None,
        }
    }
    Some(item)
}

// === impl Place ===

impl<T> Place<'_, T> {
    /// Waits for the turn.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place. An item that was already handed over is dropped, and
    /// with it goes back to where it came from.
    pub(crate) async fn wait(mut self) -> Result<T, Refusal> {
        match (&mut self.outcome).await {
            Ok(outcome) => outcome,
            // Not reachable while the place is held; to wait elsewhere is always right.
            Err(_closed) => Err(Refusal::Moved),
        }
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        let mut entries = lock(&self.queue.entries);
        let left = entries.by_number.remove(&self.number);
        self.queue.count(&entries);
        drop(entries);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn served_in_order_with_returning_ones_first() {
        let queue = Queue::default();
        let first = queue.join(3, false).unwrap();
        let second = queue.join(3, false).unwrap();
        let returned = queue.join(3, true).unwrap();
        assert_eq!(queue.waiting(), 3);
        let mut items = vec![3, 2, 1];
        queue.serve(|| items.pop());
        assert_eq!(returned.wait().now_or_never(), Some(Ok(1)));
        assert_eq!(first.wait().now_or_never(), Some(Ok(2)));
        assert_eq!(second.wait().now_or_never(), Some(Ok(3)));
        assert_eq!(queue.waiting(), 0);
    }

    #[test]
    fn a_dropped_place_is_free_at_once_and_swallows_nothing() {
        let queue = Queue::<u8>::default();
        let gone = queue.join(1, false).unwrap();
        assert_eq!(queue.join(1, false).err(), Some(Full));
        drop(gone);
        assert_eq!(queue.waiting(), 0);
        let stays = queue.join(1, false).unwrap();
        let mut items = vec![7];
        queue.serve(|| items.pop());
        assert_eq!(stays.wait().now_or_never(), Some(Ok(7)));
    }

    #[test]
    fn an_item_handed_to_a_place_that_is_dropped_is_dropped_with_it() {
        let queue = Queue::default();
        let place = queue.join(1, false).unwrap();
        let item = Arc::new(());
        let mut items = vec![item.clone()];
        queue.serve(|| items.pop());
        assert_eq!(Arc::strong_count(&item), 2);
        drop(place);
        assert_eq!(Arc::strong_count(&item), 1);
    }

    #[test]
    fn refused_ones_learn_why_and_nothing_is_taken_for_nobody() {
        let queue = Queue::<u8>::default();
        let place = queue.join(1, false).unwrap();
        queue.refuse_all(&Refusal::StartFailed("no image".into()));
        assert_eq!(
            place.wait().now_or_never(),
            Some(Err(Refusal::StartFailed("no image".into())))
        );
        queue.serve(|| panic!("nobody waits"));
    }

    #[test]
    fn a_queue_of_no_places_refuses() {
        assert_eq!(Queue::<u8>::default().join(0, false).err(), Some(Full));
    }
}
