//! How many replicas run. Every gateway counts its requests; one of them, the leader, gathers the
//! counts and decides.

pub(crate) mod backlogs;
mod decide;
mod drain;
mod history;
pub(crate) mod patch;
pub(crate) mod scaler;
pub(crate) mod stats;
pub(crate) mod stats_client;
mod window;
