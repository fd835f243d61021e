//! Removes what is over and whose time is over too.

use jiff::Timestamp;

use super::{Store, index::Stale, removal};
use crate::error::StoreError;

/// Records that are removed by one write.
const SWEPT_AT_ONCE: usize = 256;

// === impl Store ===

impl Store {
    /// Removes the records whose time is over, and the oldest ones where there is no room. How many it were for want of
    /// room.
    ///
    /// # Errors
    ///
    /// When the disk takes nothing; then they stay.
    pub(crate) async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut forced = 0;
        loop {
            let stale: Vec<Stale> = {
                let mut index = self.index();
                std::iter::from_fn(|| index.stale(&self.0.bounds, now))
                    .take(SWEPT_AT_ONCE)
                    .collect()
            };
            if stale.is_empty() {
                return Ok(forced);
            }
            if let Err(error) = self.remove(&stale).await {
                let mut index = self.index();
                stale.iter().for_each(|stale| index.put_back(stale));
                return Err(error);
            }
            forced += stale.iter().filter(|stale| stale.for_room).count() as u64;
        }
    }

    /// Removes records that were taken out of what is in memory.
    pub(super) async fn remove(&self, stale: &[Stale]) -> Result<(), StoreError> {
        let (mut known, mut rows) = (Vec::new(), Vec::with_capacity(3 * stale.len()));
        for stale in stale {
            let invocation = self.get(stale.id()).await?;
            known.extend(invocation.map(|(invocation, _)| (stale.id(), invocation)));
            rows.extend(removal(stale.id()));
        }
        self.0.writer.write(rows).await?;
        let mut index = self.index();
        known
            .iter()
            .for_each(|(id, invocation)| index.forget_record(*id, invocation));
        Ok(())
    }
}
