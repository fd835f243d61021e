//! Which lists are whole: nothing is decided before everything has been listed once.
//!
//! A namespace that may not be listed, since it is gone or lacks a Role, would hold up all others for ever.
//! It is waited for, for there may be a Role in a moment, but not for long. Only a refusal counts: where the
//! API server cannot be reached, nothing is known of any namespace.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use super::{Place, Places};

/// How long a namespace that may not be listed holds up the others.
const PATIENCE: Duration = Duration::from_secs(30);

/// The lists of one process.
#[derive(Debug, Default)]
pub struct Listed {
    lists: Mutex<Vec<List>>,
    changed: Notify,
}

/// The list of one kind in one place.
#[derive(Debug)]
struct List {
    kind: &'static str,
    place: Place,
    whole: bool,
    /// Since when it may not be listed.
    refused: Option<Instant>,
}

// === impl Listed ===

impl Listed {
    /// Lists of a kind are waited for in these places.
    pub(crate) fn expect(&self, kind: &'static str, places: &Places) {
        let lists = places.each().into_iter().map(|place| List {
            kind,
            place,
            whole: false,
            refused: None,
        });
        self.lock().extend(lists);
    }

    /// Whether everything has been listed once, but for namespaces that may not be listed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.lacking().is_ok()
    }

    /// Waits until [`Listed::is_whole`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn whole(&self) {
        loop {
            // Listens before it looks, so that no list is missed.
            let changed = self.changed.notified();
            match self.lacking() {
                Ok(()) => return,
                Err(None) => changed.await,
                Err(Some(until)) => {
                    tokio::select! {
                        () = changed => {}
                        () = sleep_until(until) => {}
                    }
                }
            }
        }
    }

    /// A list is whole.
    pub(crate) fn listed(&self, kind: &str, place: &Place) {
        let mut lists = self.lock();
        for list in lists.iter_mut().filter(|list| list.is(kind, place)) {
            list.whole = true;
        }
        drop(lists);
        self.changed.notify_waiters();
    }

    /// The kind may be listed and watched in the place.
    pub(crate) fn allowed(&self, kind: &str, place: &Place) {
        let mut lists = self.lock();
        let mut was_refused = false;
        for list in lists.iter_mut().filter(|list| list.is(kind, place)) {
            was_refused |= list.refused.take().is_some();
        }
        let still = lists.iter().any(|list| list.is_refused_in(place));
        drop(lists);
        if was_refused && !still {
            info!(%place, "may be watched again");
        }
    }

    /// The kind may not be listed or watched in the place. It is reported once for each place.
    pub(crate) fn refused(
        &self,
        kind: &str,
        place: &Place,
        error: &(dyn std::error::Error + 'static),
    ) {
        let mut lists = self.lock();
        let known = lists.iter().any(|list| list.is_refused_in(place));
        for list in lists.iter_mut().filter(|list| list.is(kind, place)) {
            list.refused.get_or_insert_with(Instant::now);
        }
        drop(lists);
        self.changed.notify_waiters();
        match place.namespace() {
            _ if known => {}
            None => warn!(kind, error, "may not be listed; check the ClusterRole"),
            Some(namespace) => warn!(
                kind,
                namespace,
                error,
                "may not be listed in this namespace, which is left out until it may; check that the \
                 namespace exists and has a Role and a RoleBinding (watchNamespaces of the chart), or take \
                 it from --watch-namespaces"
            ),
        }
    }

    /// What is missing: `Err` with when to look again, if time alone can mend it.
    fn lacking(&self) -> Result<(), Option<Instant>> {
        let lists = self.lock();
        let kinds: BTreeSet<&str> = lists.iter().map(|list| list.kind).collect();
        let some_of_each = kinds.iter().all(|kind| {
            let mut of_kind = lists.iter().filter(|list| list.kind == *kind);
            of_kind.any(|list| list.whole)
        });
        if !some_of_each {
            return Err(None);
        }
        let mut until = None;
        for list in lists.iter().filter(|list| !list.whole) {
            match list.refused {
                None => return Err(None),
                Some(since) => until = until.max(Some(since + PATIENCE)),
            }
        }
        match until {
            Some(until) if until > Instant::now() => Err(Some(until)),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<List>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl List ===

impl List {
    fn is(&self, kind: &str, place: &Place) -> bool {
        self.kind == kind && self.place == *place
    }

    fn is_refused_in(&self, place: &Place) -> bool {
        self.refused.is_some() && self.place == *place
    }
}
