//! What the operator tells on its admin port, besides its metrics.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use fermata_daemon::admin::Routes;

/// Whether the operator is ready; a plain fact that others set.
pub(crate) type Ready = Arc<AtomicBool>;

/// The health of the operator.
#[derive(Debug)]
pub(crate) struct Health(pub(crate) Ready);

// === impl Health ===

impl Routes for Health {
    fn readiness(&self) -> Result<(), &'static str> {
        if self.0.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("not everything has been listed yet; see the log")
        }
    }
}
