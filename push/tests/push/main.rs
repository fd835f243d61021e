//! The program against registries that behave, and such that do not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fake;
mod faults;
mod identity;
mod images;
mod proxied;
mod world;
