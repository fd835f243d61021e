//! Kubernetes Events: what happened to an object.

mod journal;

pub use journal::Journal;
