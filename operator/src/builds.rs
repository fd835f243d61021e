//! How many images are built at once.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use fermata_daemon::watch::Key;

/// How many Jobs of one namespace may be there that have not ended, in terms of those that may be under way: some
/// may wait for a node, and those hold no place.
const MOST_WAITING: usize = 4;

/// The places that are taken for Jobs that are being made now. All others are counted by the Jobs themselves, so that
/// they are known to whoever leads next.
#[derive(Default)]
pub(crate) struct Builds {
    taken: Mutex<HashSet<Key>>,
}

/// A Job that has not ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Unended {
    /// Its Revision.
    pub(crate) revision: Key,
    /// It holds a place: it runs, or may still begin soon.
    pub(crate) counts: bool,
}

// === impl Builds ===

impl Builds {
    /// Takes a place for the Job of a Revision. How many are under way where none is free.
    pub(crate) fn take(
        &self,
        revision: &Key,
        unended: &[Unended],
        most: usize,
    ) -> Result<(), usize> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let known: HashSet<&Key> = unended.iter().map(|job| &job.revision).collect();
        let coming: Vec<&Key> = taken.iter().filter(|key| !known.contains(key)).collect();
        let here = |key: &&Key| key.namespace == revision.namespace;
        let counting = || {
            unended
                .iter()
                .filter(|job| job.counts)
                .map(|job| &job.revision)
        };
        let most_here = (most / 2).max(1);
        // None counts for more than it may have: that is all that a namespace can take from others.
        let mut shares: HashMap<&str, usize> = HashMap::new();
        for key in counting().chain(coming.iter().copied()) {
            *shares.entry(&*key.namespace).or_default() += 1;
        }
        let all: usize = shares.values().map(|share| (*share).min(most_here)).sum();
        let own = counting().filter(here).count() + coming.iter().copied().filter(here).count();
        let waiting = known.iter().copied().filter(here).count();
        if own >= most_here || waiting >= most_here * MOST_WAITING {
            return Err(own.max(most_here));
        }
        if all >= most {
            return Err(all);
        }
        taken.insert(revision.clone());
        Ok(())
    }

    /// Gives the place back: the Job is known now, or could not be made.
    pub(crate) fn free(&self, revision: &Key) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.remove(revision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, number: usize) -> Key {
        Key::new(namespace, format!("f{number}"))
    }

    #[test]
    fn a_namespace_leaves_half_of_the_places_to_others() {
        let builds = Builds::default();
        let taken = |namespace: &str| {
            let all =
                (0..10).filter(|number| builds.take(&key(namespace, *number), &[], 4).is_ok());
            all.count()
        };
        assert_eq!((taken("a"), taken("b"), taken("c")), (2, 2, 0));
        builds.free(&key("a", 0));
        assert_eq!(builds.take(&key("c", 0), &[], 4), Ok(()));
        assert_eq!(
            Builds::default().take(&key("a", 0), &[], 1),
            Ok(()),
            "one is always possible"
        );
    }

    #[test]
    fn a_namespace_takes_no_more_from_others_than_its_share() {
        let many: Vec<Unended> = (0..100)
            .map(|number| Unended {
                revision: key("a", number),
                counts: true,
            })
            .collect();
        assert_eq!(Builds::default().take(&key("b", 0), &many, 4), Ok(()));
        assert!(Builds::default().take(&key("a", 200), &many, 4).is_err());
    }

    #[test]
    fn jobs_are_counted_whoever_made_them_and_once() {
        let job = |number, counts| Unended {
            revision: key("a", number),
            counts,
        };
        let builds = Builds::default();
        assert_eq!(
            builds.take(&key("a", 9), &[job(0, true), job(1, true)], 4),
            Err(2)
        );
        assert_eq!(
            builds.take(&key("a", 9), &[job(0, true), job(1, false)], 4),
            Ok(())
        );
        // The one that was taken is known meanwhile.
        assert_eq!(builds.take(&key("b", 0), &[job(9, true)], 4), Ok(()));
        let waiting: Vec<Unended> = (10..18).map(|number| job(number, false)).collect();
        assert!(
            Builds::default().take(&key("a", 0), &waiting, 4).is_err(),
            "those that wait are bounded too"
        );
    }
}
