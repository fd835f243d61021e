//! Calls of a function, for whom it belongs to: listed, and removed.

use std::collections::HashMap;

use fermata_daemon::watch::Key;

use super::{
    Store,
    backend::Rows,
    index::{Order, Owner, Part, Stale},
    on_disk, row,
};
use crate::{
    error::StoreError,
    id::Id,
    invocation::{Invocation, Standing, State},
};

/// A call of a list.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Its name.
    pub(crate) id: Id,
    /// What is known of it.
    pub(crate) invocation: Invocation,
    /// How it stands.
    pub(crate) standing: Standing,
}

// === impl Store ===

impl Store {
    /// At most so many calls of a function that stand so, behind the one that was last, and behind which the rest
    /// begins.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read.
    pub(crate) async fn list(
        &self,
        owner: &Owner,
        from: (Order, Option<Id>),
        most: usize,
        wanted: Option<Standing>,
    ) -> Result<(Vec<Listed>, Option<Id>), StoreError> {
        let Part { ids, next } = self.index().part(owner, from, most, wanted);
        let backend = self.0.backend.clone();
        let rows = on_disk(move || backend.rows(Rows::Invocations, &ids)).await?;
        let mut calls = Vec::with_capacity(rows.len());
        for (id, row) in rows {
            calls.push((id, row::read::<Invocation>(&row)?));
        }
        let index = self.index();
        let calls = calls.into_iter().map(|(id, invocation)| Listed {
            id,
            standing: Standing::of(invocation.state, index.is_running(&owner.function, id)),
            invocation,
        });
        // One may have gone on since it was found.
        let calls = calls.filter(|call| wanted.is_none_or(|wanted| wanted == call.standing));
        Ok((calls.collect(), next))
    }

    /// Makes room for the answer to a call that was taken, until its callback is made: the call takes so much more from
    /// then on. False if there is none.
    pub(crate) fn make_room(&self, invocation: &Invocation, bytes: u64) -> bool {
        self.index().make_room(&self.0.bounds, invocation, bytes)
    }

    /// How many calls of a function have failed and can be tried anew.
    #[must_use]
    pub(crate) fn failed(&self, owner: &Owner) -> usize {
        self.index().failed(owner)
    }

    /// The functions of which calls have failed, and how many, with those of earlier ones of their names.
    #[must_use]
    pub(crate) fn all_failed(&self) -> HashMap<Key, usize> {
        self.index().all_failed()
    }

    /// Removes calls that have failed, with all there is of them. How many it were: one that has not failed, or is
    /// just tried anew, stays.
    ///
    /// # Errors
    ///
    /// When the disk takes nothing; then they stay.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped they are removed or not.
    pub(crate) async fn purge(&self, calls: Vec<(Id, Invocation)>) -> Result<usize, StoreError> {
        let store = self.clone();
        let purged = tokio::spawn(async move {
            let stale: Vec<Stale> = {
                let mut index = store.index();
                let failed = calls.iter();
                failed
                    .filter(|(_, invocation)| invocation.state == State::Failed)
                    .filter_map(|(id, invocation)| index.take(*id, invocation))
                    .collect()
            };
            let removed = store.remove(&stale).await;
            if removed.is_err() {
                let mut index = store.index();
                stale.iter().for_each(|stale| index.put_back(stale));
            }
            removed.map(|()| stale.len())
        });
        purged.await.map_err(|_| StoreError::Closed)?
    }
}
