//! What the parts of one HTTP/1.1 connection tell each other: its place among the others, its wire,
//! hyper's timer and the requests it carries.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
};

use fermata_listen::Seat;

use super::framing::Finding;
use crate::hang_up::HangUp;

/// One HTTP/1.1 connection. All of it is touched by the connection's own task; the place alone is
/// shared with the listener.
#[derive(Debug)]
pub(super) struct Line {
    seat: Seat,
    /// Whether a request was taken, and the head of the next one is not awaited yet.
    request: AtomicBool,
    /// Whether the place counts as busy, which it does until the response is written.
    counted: AtomicBool,
    /// Whether a part of a head has come that is not complete.
    begun: AtomicBool,
    /// Whether the request that was taken may switch to another protocol.
    switching: AtomicBool,
    /// What was found among the bytes, and is to be seen to; 0 is nothing.
    found: AtomicU8,
    /// How many requests were taken.
    taken: AtomicU64,
    /// The number of the last request that there may be.
    last: AtomicU64,
    hang_up: Arc<HangUp>,
}

// === impl Line ===

impl Line {
    /// A connection that waits for its first request.
    pub(super) fn new(seat: Seat) -> Self {
        Self {
            seat,
            request: AtomicBool::new(false),
            counted: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            switching: AtomicBool::new(false),
            found: AtomicU8::new(0),
            taken: AtomicU64::new(0),
            last: AtomicU64::new(u64::MAX),
            hang_up: Arc::default(),
        }
    }

    /// What its requests tell it to look by.
    pub(super) fn hang_up(&self) -> Arc<HangUp> {
        self.hang_up.clone()
    }

    /// Whether it is time to look for the client, who waits for a response.
    pub(super) fn is_look_due(&self) -> bool {
        self.hang_up.is_due() && !self.is_idle()
    }

    /// Returns when the place was taken away.
    pub(super) async fn lost(&self) {
        self.seat.lost().await;
    }

    /// The head of the next request is awaited.
    pub(super) fn await_head(&self) {
        self.request.store(false, Ordering::Relaxed);
        self.switching.store(false, Ordering::Relaxed);
    }

    /// Bytes have come, after which there is a part of a head or not.
    pub(super) fn heard(&self, mid_head: bool) {
        self.begun.store(mid_head, Ordering::Relaxed);
    }

    /// A request begins, perhaps one that switches to another protocol; false if the place was taken
    /// away, and the connection is about to close.
    pub(super) fn take(&self, switches: bool) -> bool {
        self.request.store(true, Ordering::Relaxed);
        self.taken.fetch_add(1, Ordering::Relaxed);
        if switches {
            self.switching.store(true, Ordering::Relaxed);
        }
        // One that was sent ahead begins before the end of the last one was noticed.
        self.counted.swap(true, Ordering::Relaxed) || self.seat.begin()
    }

    /// Whether what comes may be of another protocol.
    pub(super) fn is_switching(&self) -> bool {
        self.switching.load(Ordering::Relaxed)
    }

    /// Something was found among the bytes of the request of this number.
    pub(super) fn found(&self, finding: Finding, request: u64) {
        self.found.store(finding as u8, Ordering::Relaxed);
        if finding == Finding::Lost {
            self.last.store(request, Ordering::Relaxed);
        }
    }

    /// Whether there is to be no request after the one that was taken last.
    pub(super) fn is_last(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.last.load(Ordering::Relaxed)
    }

    /// What is to be seen to now, once: what is wrong with a request not before all that was asked before
    /// it is answered.
    pub(super) fn due(&self) -> Option<Finding> {
        let finding = Finding::of(self.found.load(Ordering::Relaxed))?;
        let due = match finding {
            Finding::Lost => self.is_last(),
            _ => self.is_idle(),
        };
        due.then(|| {
            self.found.store(0, Ordering::Relaxed);
            finding
        })
    }

    /// Everything that was to be written is. What is awaited now may be long in coming.
    pub(super) fn settle(&self) {
        if self.counted.load(Ordering::Relaxed) && !self.request.load(Ordering::Relaxed) {
            self.counted.store(false, Ordering::Relaxed);
            self.seat.end();
        }
    }

    /// Whether nothing is under way, in either direction, but the head of the next request.
    pub(super) fn is_idle(&self) -> bool {
        !self.request.load(Ordering::Relaxed) && !self.counted.load(Ordering::Relaxed)
    }

    /// Whether a part of a head has come.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether nothing is under way but a part of that head.
    pub(super) fn is_mid_head(&self) -> bool {
        self.is_idle() && self.has_begun()
    }
}
