//! How many pods look at git repositories at once.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use fermata_daemon::watch::Key;

/// The most for the whole cluster.
const MOST: usize = 30;

/// The most for one namespace, so that a server that hangs does not keep the others waiting.
const MOST_OF_NAMESPACE: usize = 10;

/// How long a place is taken at most: longer than a look may take.
const LONGEST: Duration = Duration::from_secs(120);

/// The Functions whose repositories are looked at now.
#[derive(Default)]
pub(crate) struct Looks {
    taken: Mutex<HashMap<Key, Instant>>,
}

// === impl Looks ===

impl Looks {
    /// Takes a place for a Function, if one is free or it has one.
    pub(crate) fn take(&self, function: &Key) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|_, since| since.elapsed() < LONGEST);
        if taken.contains_key(function) {
            return true;
        }
        let same = |other: &&Key| other.namespace == function.namespace;
        let own = taken.keys().filter(same).count();
        let free = taken.len() < MOST && own < MOST_OF_NAMESPACE;
        if free {
            taken.insert(function.clone(), Instant::now());
        }
        free
    }

    /// Whether a Function has a place.
    pub(crate) fn has(&self, function: &Key) -> bool {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.contains_key(function)
    }

    /// Gives the place of a Function back.
    pub(crate) fn free(&self, function: &Key) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.remove(function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_leaves_room_for_others() {
        let looks = Looks::default();
        let key = |namespace: &str, number: usize| Key::new(namespace, format!("f{number}"));
        let taken = |namespace: &str| {
            let all = (0..MOST).filter(|number| looks.take(&key(namespace, *number)));
            all.count()
        };
        assert_eq!(taken("a"), MOST_OF_NAMESPACE);
        assert_eq!(taken("b"), MOST_OF_NAMESPACE);
        assert_eq!(taken("c"), MOST_OF_NAMESPACE);
        assert_eq!(taken("d"), 0);
        assert!(looks.take(&key("a", 0)), "it has one");
        looks.free(&key("a", 0));
        assert!(looks.take(&key("d", 0)));
        assert!(!looks.has(&key("a", 0)) && looks.has(&key("d", 0)));
    }
}
