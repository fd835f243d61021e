//! What callers change of a call that is kept: they call it off, or have it tried anew.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Refused, Store, backend::Rows, change, index::CalledOff, row};
use crate::{
    error::StoreError,
    id::Id,
    invocation::{Invocation, State},
};

/// What became of an attempt to call a call off, or to have it tried again.
#[derive(Clone, Debug)]
pub(crate) enum Changed {
    /// It is so.
    Done(Invocation),
    /// It is being made, and told to end.
    Told(Invocation),
    /// It is over, or is not, already.
    Already(Invocation),
    /// Nobody knows it.
    Unknown,
}

// === impl Store ===

impl Store {
    /// Calls a call off: one that waits is over at once, one that is being made is told to end.
    ///
    /// # Errors
    ///
    /// When the disk takes nothing; then it goes on.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the call is called off or not.
    pub(crate) async fn cancel(&self, id: Id) -> Result<Changed, StoreError> {
        let store = self.clone();
        // A task of its own, as that of `accept`: a call that was taken has to be settled or given back.
        let cancelled = tokio::spawn(async move { store.do_cancel(id).await });
        cancelled.await.map_err(|_| StoreError::Closed)?
    }

    async fn do_cancel(&self, id: Id) -> Result<Changed, StoreError> {
        let Some((mut invocation, _)) = self.get(id).await? else {
            return Ok(Changed::Unknown);
        };
        if invocation.is_over() {
            return Ok(Changed::Already(invocation));
        }
        let called_off = self.index().call_off(id, &invocation);
        match called_off {
            // It has ended since.
            None => Ok(match self.get(id).await? {
                Some((invocation, _)) => Changed::Already(invocation),
                None => Changed::Unknown,
            }),
            Some(CalledOff::Running) => Ok(Changed::Told(invocation)),
            Some(CalledOff::Taken) => {
                let before = invocation.clone();
                invocation.finish(State::Cancelled, Timestamp::now());
                let settled = self.settle(id, &invocation, None).await;
                if settled.is_err() {
                    self.give_back(id, &before, Duration::ZERO);
                }
                settled.map(|()| Changed::Done(invocation))
            }
        }
    }

    /// Lets a call that has failed be tried anew, as if it were accepted now.
    ///
    /// # Errors
    ///
    /// When there is no room for it, or the disk takes nothing; then it stays failed.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the call is tried anew or not.
    pub(crate) async fn redrive(&self, id: Id) -> Result<Changed, Refused> {
        let store = self.clone();
        let redriven = tokio::spawn(async move { store.do_redrive(id).await });
        redriven.await.map_err(|_| StoreError::Closed)?
    }

    async fn do_redrive(&self, id: Id) -> Result<Changed, Refused> {
        let Some((before, _)) = self.get(id).await? else {
            return Ok(Changed::Unknown);
        };
        if before.state != State::Failed {
            return Ok(Changed::Already(before));
        }
        let mut after = before.anew(Timestamp::now());
        if let Some(place) = after.place_mut() {
            place.number = self.index().next_place();
        }
        let revived = self.index().revive(&self.0.bounds, id, &before, &after)?;
        if !revived {
            // Somebody else has just done so, or its time is over.
            return Ok(match self.get(id).await? {
                Some((invocation, _)) => Changed::Already(invocation),
                None => Changed::Unknown,
            });
        }
        let rows = row::json(&after).map(|row| {
            vec![
                change(Rows::Invocations, id, Some(row)),
                change(Rows::Answers, id, None),
            ]
        });
        let written = match rows {
            Ok(rows) => self.0.writer.write(rows).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            self.index().revoke(id, &before, &after);
            return Err(error.into());
        }
        self.wait(id, &after, Instant::now());
        Ok(Changed::Done(after))
    }
}
