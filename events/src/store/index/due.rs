//! What could be made now: what functions are scaled for.

use fermata_crds::backlog::{Backlog, MOST_FUNCTIONS};
use tokio::time::Instant;

use super::Index;

// === impl Index ===

impl Index {
    /// The functions of which calls are due or being made, and how many; those that are due are counted up to a number.
    /// What it costs grows with the functions that have something to do, not with their calls.
    pub(in crate::store) fn due(&self, now: Instant, most: u32) -> Vec<Backlog> {
        let queues = self.queues.iter();
        let busy = queues.filter(|(_, queue)| queue.is_busy(now));
        let backlogs = busy.take(MOST_FUNCTIONS).map(|(key, queue)| Backlog {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            waiting: count(0..queue.due(now, most as usize)),
            running: count(queue.requests()),
        });
        backlogs.collect()
    }
}

fn count<T>(calls: impl Iterator<Item = T>) -> u32 {
    u32::try_from(calls.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::{id::Id, invocation::Invocation};

    fn invocation(function: &str) -> Invocation {
        let invocation = serde_json::json!({
            "namespace": "shop", "function": function, "uid": "u", "entrance": "internal",
            "acceptedAt": "2026-11-28T06:00:00Z", "delivery": {}, "bytes": 1, "state": "Waiting", "attempts": 0,
        });
        serde_json::from_value(invocation).unwrap()
    }

    #[test]
    fn what_waits_for_another_time_needs_no_instances() {
        let (mut index, now) = (Index::default(), Instant::now());
        let later = now + Duration::from_secs(60);
        let mut wait = |function: &str, due| {
            let id = Id::new(Timestamp::now()).unwrap();
            index.wait(id, &invocation(function), due);
        };
        for _ in 0..5 {
            wait("mails", now);
        }
        wait("mails", later);
        wait("bills", later);
        let told = |index: &Index, at, most| {
            let due = index.due(at, most).into_iter();
            let mut due: Vec<_> = due
                .map(|backlog| (backlog.name.to_string(), backlog.waiting, backlog.running))
                .collect();
            due.sort();
            due
        };
        let mails = |waiting, running| ("mails".to_owned(), waiting, running);
        assert_eq!(told(&index, now, 100), [mails(5, 0)]);
        assert_eq!(told(&index, now, 3), [mails(3, 0)]);
        let function = invocation("mails").key();
        index.next(&function, now);
        assert_eq!(told(&index, now, 100), [mails(4, 1)]);
        let bills = ("bills".to_owned(), 1, 0);
        assert_eq!(told(&index, later, 100), [bills, mails(5, 1)]);
    }
}
