//! Kubernetes Events: what happened to an object.

mod journal;
mod queue;

pub use journal::Journal;
pub use queue::{EventCounters, EventNote, EventSender, EventWriter, channel};
