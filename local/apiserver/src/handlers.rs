//! One handler per verb.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod disruption;
pub(crate) mod exec;
pub(crate) mod forward;
pub(crate) mod logs;
pub(crate) mod patch;
pub(crate) mod read;
pub(crate) mod review;
pub(crate) mod scale;
pub(crate) mod token;
pub(crate) mod update;
mod upgrade;
pub(crate) mod watch;
mod written;
