//! The responses on their way over one HTTP/2 connection, and those whose client takes nothing.
//!
//! While the client grants a stream no room, nobody polls the response that waits for it, so that no
//! clock of its own can run out: its instance would be held for as long as the client likes.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use tokio::time::Instant;

use super::exchange::Shared;
use crate::sync::lock;

/// How many entries there may be before the old ones are cleared away.
const CLEAR_AT: usize = 256;

/// The shortest time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The responses on their way over one connection.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    response: Weak<Shared>,
    /// Where it stood when it was looked at, and since when.
    seen: Option<(u32, Instant)>,
}

// === impl Streams ===

impl Streams {
    /// A response begins.
    pub(crate) fn add(&self, response: &Arc<Shared>) {
        let mut entries = lock(&self.0);
        if entries.len() >= CLEAR_AT {
            entries.retain(|entry| entry.response.strong_count() > 0);
        }
        entries.push(Entry {
            response: Arc::downgrade(response),
            seen: None,
        });
    }

    /// Gives up those of which the client takes nothing for as long as the limit, for ever. A limit of
    /// zero is none.
    pub(crate) async fn watch(&self, limit: Duration) {
        if limit.is_zero() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep((limit / 4).max(LOOK_EVERY)).await;
            self.look(limit, Instant::now());
        }
    }

    fn look(&self, limit: Duration, now: Instant) {
        let mut stalled = Vec::new();
        lock(&self.0).retain_mut(|entry| {
            let Some(response) = entry.response.upgrade() else {
                return false;
            };
            let step = response.handed_over();
            match (step, entry.seen) {
                (Some(step), Some((seen, since))) if step == seen => {
                    if now.saturating_duration_since(since) >= limit {
                        stalled.push(response);
                        return false;
                    }
                }
                (step, _) => entry.seen = step.map(|step| (step, now)),
            }
            true
        });
        // Without the lock: what they held may go on to the next request.
        for response in stalled {
            response.give_up();
        }
    }
}
