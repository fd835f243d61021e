//! The gateway: takes HTTP requests for functions, wakes the ones that rest, and decides how many
//! replicas run.
//!
//! [`Gateway::bind`] takes the ports, [`Gateway::run`] serves. It knows the cluster only through a
//! [`kube::Client`]:
//!
//! - [`state`] watches Functions, Revisions, Deployments and Pods and keeps what requests need;
//! - [`proxy`] is the way of a request: routing, forwarding, answering in the function's place;
//! - [`admit`] decides which instance takes a request, and where it waits until one can;
//! - [`activate`] starts instances for waiting requests, and notices when none can start;
//! - [`scale`] counts, and decides how many replicas run;
//! - [`admin`] shows metrics and health.
//!
//! Requests are served on threads of their own; everything else runs on those of the caller.
//!
//! A request takes no lock that all requests share. Waking needs no leader and no other gateway;
//! warm functions need no API server.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod activate;
pub mod admin;
pub mod admit;
pub mod clock;
mod data_plane;
mod error;
mod gateway;
mod options;
pub mod proxy;
mod random;
pub mod scale;
pub mod state;
mod sync;

pub use error::Error;
pub use gateway::Gateway;
pub use options::{AccessLog, Bound, ErrorDetails, Network, Options};
