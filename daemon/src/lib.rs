//! What the programs that work on a cluster have alike: how objects are [`watch`]ed, which of several
//! replicas leads (a [`lease`]), and how [`events`] are written.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod events;
pub mod lease;
pub mod watch;
