//! The embedded cluster: a Kubernetes for one machine, in one process.
//!
//! It has an API endpoint ([`fermata_apiserver`]), the controllers that turn Deployments into pods,
//! and a node that runs pods as processes ([`fermata_node`]). To everything that speaks the
//! Kubernetes API it looks like any other cluster.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod cluster;

pub use cluster::{Cluster, Error, Options};
pub use fermata_node::{open_files_argument, supervise};
