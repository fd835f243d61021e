//! How many work on repositories at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time};

/// The most for all.
const MOST: usize = 32;

/// The most for one namespace, so that one cannot shut the others out.
const MOST_OF_NAMESPACE: usize = 8;

/// The most that wait for a place of one namespace, and of all together.
const MOST_WAITING: usize = 16;
const MOST_WAITING_OF_ALL: usize = 32;

/// How long they wait: as long as a push without a build mostly takes, some times over.
const PATIENCE: Duration = Duration::from_secs(60);

/// Places to work.
#[derive(Clone, Default)]
pub(super) struct Slots(Arc<Places>);

#[derive(Default)]
struct Places {
    taken: Mutex<HashMap<String, usize>>,
    waiting: Mutex<HashMap<String, usize>>,
    freed: Notify,
}

/// A wait that counts; it is over when this is dropped.
pub(super) struct Wait<'a> {
    places: &'a Places,
    namespace: &'a str,
}

/// A place; it is free again when this is dropped.
pub(super) struct Slot {
    slots: Slots,
    namespace: String,
}

// === impl Slots ===

impl Slots {
    /// Takes a place for a repository of a namespace, if one is free.
    pub(super) fn take(&self, namespace: &str) -> Option<Slot> {
        let mut taken = lock(&self.0.taken);
        let own = taken.get(namespace).copied().unwrap_or_default();
        if own >= MOST_OF_NAMESPACE || taken.values().sum::<usize>() >= MOST {
            return None;
        }
        taken.insert(namespace.to_owned(), own + 1);
        Some(Slot {
            slots: self.clone(),
            namespace: namespace.to_owned(),
        })
    }

    /// Waits for a place, unless too many wait already; `None` if there is none in time.
    ///
    /// # Cancel safety
    ///
    /// Who is dropped while it waits has no place, and waits no more.
    pub(super) async fn wait(&self, namespace: &str) -> Option<Slot> {
        if let Some(slot) = self.take(namespace) {
            return Some(slot);
        }
        let _wait = self.line_up(namespace)?;
        self.wait_with_all(namespace).await
    }

    /// Lines up with those who wait for a place, unless too many do.
    pub(super) fn line_up<'a>(&'a self, namespace: &'a str) -> Option<Wait<'a>> {
        Wait::begin(&self.0, namespace)
    }

    /// Waits for a place however many do; `None` if there is none in time.
    ///
    /// # Cancel safety
    ///
    /// As [`Slots::wait`].
    pub(super) async fn wait_with_all(&self, namespace: &str) -> Option<Slot> {
        let free = async {
            loop {
                // What is freed between the look and the wait is not missed.
                let freed = self.0.freed.notified();
                tokio::pin!(freed);
                freed.as_mut().enable();
                if let Some(slot) = self.take(namespace) {
                    return slot;
                }
                freed.await;
            }
        };
        time::timeout(PATIENCE, free).await.ok()
    }
}

// === impl Wait ===

impl<'a> Wait<'a> {
    fn begin(places: &'a Places, namespace: &'a str) -> Option<Self> {
        let mut waiting = lock(&places.waiting);
        let own = waiting.get(namespace).copied().unwrap_or_default();
        if own >= MOST_WAITING || waiting.values().sum::<usize>() >= MOST_WAITING_OF_ALL {
            return None;
        }
        waiting.insert(namespace.to_owned(), own + 1);
        Some(Self { places, namespace })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        one_less(&mut lock(&self.places.waiting), self.namespace);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        one_less(&mut lock(&self.slots.0.taken), &self.namespace);
        self.slots.0.freed.notify_waiters();
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn one_less(counts: &mut HashMap<String, usize>, namespace: &str) {
    if let Some(own) = counts.get_mut(namespace) {
        *own -= 1;
        if *own == 0 {
            counts.remove(namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_finds_no_place_waits_for_one() {
        let slots = Slots::default();
        let mut taken: Vec<Slot> = (0..MOST_OF_NAMESPACE)
            .map_while(|_| slots.take("a"))
            .collect();
        let mut waits: Vec<_> = (0..=MOST_WAITING)
            .map(|_| Box::pin(slots.wait("a")))
            .collect();
        for wait in &mut waits[..MOST_WAITING] {
            assert!(futures::poll!(wait).is_pending());
        }
        // One more is too many, and other namespaces have places.
        let beyond = waits.pop().unwrap();
        assert!(beyond.await.is_none() && slots.wait("b").await.is_some());
        taken.pop();
        let first = waits.remove(0);
        let slot = first.await;
        assert!(slot.is_some());
        // Whoever does not wait any more is not counted.
        drop(waits);
        drop(slot);
        assert!(slots.wait("a").await.is_some());
        assert!(lock(&slots.0.waiting).is_empty());
    }

    #[tokio::test]
    async fn a_few_wait_of_all_and_others_take_what_is_freed() {
        let slots = Slots::default();
        let lines: Vec<_> = ["a", "b", "c"]
            .iter()
            .flat_map(|namespace| (0..=MOST_WAITING).map_while(|_| slots.line_up(namespace)))
            .collect();
        assert_eq!(lines.len(), MOST_WAITING_OF_ALL);
        let mut taken: Vec<Slot> = (0..MOST_OF_NAMESPACE)
            .map_while(|_| slots.take("c"))
            .collect();
        assert!(slots.wait("c").await.is_none());
        let mut beyond = Box::pin(slots.wait_with_all("c"));
        assert!(futures::poll!(&mut beyond).is_pending());
        taken.pop();
        assert!(beyond.await.is_some());
    }

    #[test]
    fn a_namespace_leaves_room_for_others() {
        let slots = Slots::default();
        let take = |namespace: &str| -> Vec<Slot> {
            (0..MOST).map_while(|_| slots.take(namespace)).collect()
        };
        let mut taken: Vec<Vec<Slot>> = ["a", "b", "c", "d"].map(take).into();
        let counts: Vec<usize> = taken.iter().map(Vec::len).collect();
        assert_eq!(counts, [MOST_OF_NAMESPACE; 4]);
        assert!(slots.take("e").is_none());
        taken.pop();
        assert!(slots.take("e").is_some() && slots.take("a").is_none());
    }
}
