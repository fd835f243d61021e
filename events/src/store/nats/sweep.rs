//! Removes messages that are of no use any more.

use std::time::Duration;

use async_nats::jetstream::response::Response;
use futures::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::json;

use super::line::Line;
use crate::id::Id;

/// How often it is looked for some.
const EVERY: Duration = Duration::from_secs(1);

/// How many are removed at once.
const AT_ONCE: usize = 64;

/// The numbers of the errors that say that there is no such message.
const GONE: [u64; 3] = [10037, 10043, 10057];

#[derive(Debug, Deserialize)]
struct Removed {
    success: bool,
}

// === impl Line ===

impl Line {
    /// Removes what is of no use, for as long as this process has the store.
    pub(super) async fn sweep(&self) {
        loop {
            let dead = self.catalog().take_dead(AT_ONCE);
            let full = dead.len() == AT_ONCE;
            let removing = stream::iter(dead)
                .map(async |(id, sequence)| (id, sequence, self.remove(sequence).await))
                .buffer_unordered(AT_ONCE);
            let removed: Vec<(Id, u64, bool)> = removing.collect().await;
            let mut left = Vec::new();
            {
                let mut catalog = self.catalog();
                for (id, sequence, removed) in removed {
                    if removed {
                        catalog.removed(id, sequence);
                    } else {
                        left.push((id, sequence));
                    }
                }
            }
            let all = left.is_empty();
            self.catalog().put_back(left);
            if !(full && all) {
                tokio::time::sleep(EVERY).await;
            }
        }
    }

    /// Whether the message is not there any more. Its number is nobody else's, so that it harms nobody if another process
    /// has the store meanwhile.
    async fn remove(&self, sequence: u64) -> bool {
        let name = &self.stream.cached_info().config.name;
        let subject = format!("STREAM.MSG.DELETE.{name}");
        let payload = json!({"seq": sequence, "no_erase": true});
        let context = async_nats::jetstream::new(self.client.clone());
        let asked = context.request(subject, &payload).await;
        match asked {
            Ok(Response::Ok(Removed { success })) => success,
            Ok(Response::Err { error }) => GONE.contains(&error.error_code().0),
            Err(_) => false,
        }
    }
}
