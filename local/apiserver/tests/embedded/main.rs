//! What the embedded server has and others have not: a start and an end, a disk, hooks for a node in
//! the same process, and the logs of that node.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_futures
)]

mod admission;
mod connections;
mod durability;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "../support/kubectl.rs"]
mod kubectl;
#[path = "../support/lines.rs"]
mod lines;
mod logs;
mod races;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "../support/requests.rs"]
mod requests;
mod scale;
mod support;
mod tokens;
mod watches;
