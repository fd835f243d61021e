//! The server as its clients see it: in process, over TLS, and through kubectl.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_futures
)]

mod connections;
mod custom;
mod deletion;
mod discovery;
mod durability;
mod kubectl;
mod lists;
mod logs;
mod objects;
mod scale;
mod support;
mod writes;
