//! The gateway: takes HTTP requests for functions, wakes the ones that rest, and decides how many
//! replicas run.
//!
//! [`Gateway::bind`] takes the ports, [`Gateway::run`] serves. It knows the cluster only through a
//! [`kube::Client`]. Its parts are layers, each of which imports only what stands before it:
//!
//! - `upstream`: connections to instances, and one exchange over them;
//! - `failure`: why the gateway answers instead of a function;
//! - `backend`: Functions, Revisions, instances, queues and routes, which requests hold on to;
//! - `cluster`: watches Functions, Revisions, Deployments and Pods, and the other gateways;
//! - `scale`: counts requests, and decides how many replicas run;
//! - `activator`: starts instances for waiting requests, and notices when none can start;
//! - `proxy`: the way of a request: identify, check, route, forward;
//! - `trigger`: calls functions at the times of their triggers;
//! - `admin`: shows metrics and health;
//! - `gateway`: puts these together, starts and stops them.
//!
//! `cargo xtask test` fails where one imports another that stands behind it.
//!
//! Requests are served on threads of their own; everything else runs on those of the caller.
//!
//! A request takes no lock that all requests share. Waking needs no leader and no other gateway;
//! warm functions need no API server.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod activator;
mod admin;
mod backend;
mod causes;
mod clock;
mod cluster;
mod data_plane;
mod error;
mod failure;
mod gateway;
mod hang_up;
mod options;
mod proxy;
mod random;
mod scale;
mod stall;
mod sync;
mod trigger;
mod upstream;

pub use error::Error;
pub use gateway::Gateway;
pub use options::{AccessLog, Bound, ErrorDetails, Network, NotAnOwnPath, Options, OwnPath};
pub use proxy::owners::Owners;
