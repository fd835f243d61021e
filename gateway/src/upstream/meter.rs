//! What the body of a request tells the exchange that it belongs to.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::clock::{self, Micros};

/// What the body of a request tells the exchange it belongs to.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    touched: AtomicU64,
    /// Since when more is asked for than has come; 0 while that is not so.
    waiting: AtomicU64,
    bytes: AtomicU64,
    ended: AtomicBool,
    broken: AtomicU8,
}

/// Why the body of a request broke off, which is not the function's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Break {
    /// It is larger than allowed.
    TooLarge = 1,
    /// The client's connection broke.
    Client = 2,
}

// === impl Meter ===

impl Meter {
    /// As new, for another body.
    pub(crate) fn reset(&self) {
        self.touched.store(0, Ordering::Relaxed);
        self.waiting.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.ended.store(false, Ordering::Relaxed);
        self.broken.store(0, Ordering::Relaxed);
    }

    /// More is asked for than has come.
    pub(crate) fn wait(&self) {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            self.waiting.store(clock::now().max(1), Ordering::Relaxed);
        }
    }

    /// A frame of the given size has passed.
    pub(crate) fn count(&self, bytes: usize) {
        self.waiting.store(0, Ordering::Relaxed);
        self.touched.store(clock::now(), Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The last frame has passed.
    pub(crate) fn end(&self) {
        self.waiting.store(0, Ordering::Relaxed);
        self.ended.store(true, Ordering::Relaxed);
    }

    /// The body breaks off.
    pub(crate) fn break_off(&self, reason: Break) {
        self.broken.store(reason as u8, Ordering::Relaxed);
    }

    /// Why the body broke off, if it did.
    #[must_use]
    pub(crate) fn broken(&self) -> Option<Break> {
        match self.broken.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Break::TooLarge),
            _ => Some(Break::Client),
        }
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Since when the client owes a byte, if it does.
    pub(crate) fn waiting(&self) -> Option<Micros> {
        let since = self.waiting.load(Ordering::Relaxed);
        (since != 0).then_some(since)
    }

    /// When the last frame passed; 0 if none has.
    pub(crate) fn touched(&self) -> Micros {
        self.touched.load(Ordering::Relaxed)
    }

    /// Bytes that have passed.
    #[must_use]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}
