//! What the programs that work on a cluster have alike: how a [`process`] begins and ends, its [`log`] and
//! its [`admin`] listener, how objects are [`watch`]ed, which of several replicas leads (a [`lease`]), and how [`events`] are written.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod admin;
pub mod events;
pub mod lease;
pub mod log;
pub mod process;
pub mod watch;
