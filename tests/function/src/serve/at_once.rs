//! How many requests an instance works on.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Requests that are worked on, and the most that ever were.
#[derive(Debug, Default)]
pub(super) struct AtOnce {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// One of them, until it is dropped: also when its caller leaves before there is an answer.
#[derive(Debug)]
pub(super) struct Work {
    counter: Arc<AtOnce>,
    at_once: usize,
}

// === impl AtOnce ===

impl AtOnce {
    /// One more.
    pub(super) fn begin(self: &Arc<Self>) -> Work {
        let at_once = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(at_once, Ordering::SeqCst);
        Work {
            counter: self.clone(),
            at_once,
        }
    }

    /// The most at once, ever.
    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

// === impl Work ===

impl Work {
    /// How many there were when it began, itself included.
    pub(super) fn at_once(&self) -> usize {
        self.at_once
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.counter.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_counts_no_more() {
        let counter = Arc::new(AtOnce::default());
        let first = counter.begin();
        let second = counter.begin();
        assert_eq!((first.at_once(), second.at_once()), (1, 2));
        drop(second);
        assert_eq!(counter.begin().at_once(), 2);
        assert_eq!(counter.most(), 2);
    }
}
