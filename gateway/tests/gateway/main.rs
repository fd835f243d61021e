//! The gateway end to end: real HTTP on loopback, against a small Kubernetes API in memory whose pods
//! are HTTP servers of this process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backlogs;
mod bad_input;
mod cold_start;
mod connections;
mod deferring;
mod doomed_start;
mod forwarded;
mod heads;
mod kept_connections;
mod leading;
mod leaving;
mod owners;
mod owning;
mod passing;
mod protocols;
mod proxies;
mod publishing;
mod routing;
mod scaling;
mod stalls;
mod stopping;
mod streaming;
mod support;
