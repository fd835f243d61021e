//! Noticing that a client has left while its request waits.
//!
//! As long as a request's body is not read, or another request was sent behind it, nobody reads from
//! the connection, and its end would be noticed only when the response is written. So while a request
//! waits its connection is looked at now and then.

use std::{
    convert::Infallible,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Between two looks at the client of a request that waits for an instance.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What tells an HTTP/1.1 connection to look whether its client is still there.
#[derive(Debug, Default)]
pub(crate) struct HangUp(AtomicBool);

// === impl HangUp ===

impl HangUp {
    /// The connection looks when its task, which is the caller's, comes to it.
    pub(crate) fn look(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether to look now.
    pub(crate) fn is_due(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }

    /// Waits, and lets the connection look meanwhile. If the client is gone, the connection's task ends,
    /// and this with it. Nothing is done about a wait that is none.
    ///
    /// # Cancel safety
    ///
    /// That of the wait.
    pub(crate) async fn while_connected<T>(&self, wait: impl Future<Output = T>) -> T {
        let mut wait = pin!(wait);
        tokio::select! {
            biased;
            outcome = wait.as_mut() => outcome,
            never = self.look_often() => match never {},
        }
    }

    async fn look_often(&self) -> Infallible {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look();
        }
    }
}
