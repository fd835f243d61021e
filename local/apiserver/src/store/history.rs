//! The recent past of one resource: what watches read, and what older lists are rebuilt from.

use std::{collections::VecDeque, sync::Arc};

use super::{Key, Object};

/// How many events of one resource are kept.
const MAX_EVENTS: usize = 4096;

/// How many bytes of serialised objects the events of one resource may hold on to.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What happened to an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

/// One change of one object.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) revision: u64,
    pub(crate) change: Change,
    pub(crate) key: Key,
    /// The object after the change; of a deletion, its last state.
    pub(crate) object: Arc<Object>,
    pub(crate) previous: Option<Arc<Object>>,
}

/// The events of one resource, oldest first, bounded in number and size.
#[derive(Debug)]
pub(crate) struct History {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Events up to this revision are forgotten.
    compacted: u64,
}

// === impl History ===

impl History {
    pub(crate) fn new(compacted: u64) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            compacted,
        }
    }

    pub(crate) fn push(&mut self, event: Arc<Event>) {
        self.bytes += event.object.json.len();
        self.events.push_back(event);
        while self.events.len() > MAX_EVENTS || (self.bytes > MAX_BYTES && self.events.len() > 1) {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= oldest.object.json.len();
            self.compacted = oldest.revision;
        }
    }

    /// Forgets everything up to the newest event, as a compaction does.
    #[cfg(test)]
    pub(crate) fn compact(&mut self) {
        if let Some(newest) = self.events.back() {
            self.compacted = newest.revision;
        }
        self.events.clear();
        self.bytes = 0;
    }

    /// Up to `most` events newer than `cursor`, or `None` when some of them are forgotten.
    pub(crate) fn after(&self, cursor: u64, most: usize) -> Option<Vec<Arc<Event>>> {
        if cursor < self.compacted {
            return None;
        }
        let start = self
            .events
            .partition_point(|event| event.revision <= cursor);
        Some(self.events.iter().skip(start).take(most).cloned().collect())
    }

    /// The events newer than `revision`, newest first, or `None` when some are forgotten.
    pub(crate) fn undo(&self, revision: u64) -> Option<impl Iterator<Item = &Arc<Event>>> {
        (revision >= self.compacted).then(|| {
            self.events
                .iter()
                .rev()
                .take_while(move |event| event.revision > revision)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(revision: u64) -> Arc<Event> {
        Arc::new(Event {
            revision,
            change: Change::Added,
            key: Key::new("default", "x"),
            object: Arc::new(Object::new(serde_json::json!({"metadata": {}}), revision)),
            previous: None,
        })
    }

    #[test]
    fn what_is_beyond_the_bound_is_forgotten_and_said_to_be() {
        let mut history = History::new(0);
        for revision in 1..=(MAX_EVENTS as u64 + 10) {
            history.push(event(revision));
        }
        assert!(history.after(9, 1).is_none(), "forgotten");
        assert_eq!(history.after(10, 1).expect("kept")[0].revision, 11);
        assert!(history.undo(9).is_none());
        assert_eq!(
            history.after(10, usize::MAX).expect("kept").len(),
            MAX_EVENTS
        );
    }
}
