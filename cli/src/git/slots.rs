//! How many work on repositories at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The most for all.
const MOST: usize = 32;

/// The most for one namespace, so that one cannot shut the others out.
const MOST_OF_NAMESPACE: usize = 8;

/// Places to work.
#[derive(Clone, Default)]
pub(super) struct Slots(Arc<Mutex<HashMap<String, usize>>>);

/// A place; it is free again when this is dropped.
pub(super) struct Slot {
    slots: Slots,
    namespace: String,
}

// === impl Slots ===

impl Slots {
    /// Takes a place for a repository of a namespace, if one is free.
    pub(super) fn take(&self, namespace: &str) -> Option<Slot> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.namespace) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
