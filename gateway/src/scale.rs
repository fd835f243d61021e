//! How many replicas run. Every gateway counts its requests; one of them, the leader, gathers the
//! counts and decides.

pub mod decide;
pub mod drain;
pub mod history;
pub mod patch;
pub mod peers;
pub mod scaler;
pub mod schedule;
pub mod stats;
pub mod window;
