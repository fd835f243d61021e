//! What the end-to-end suites share: a platform to test, requests to it, and waiting for things to
//! become true.
//!
//! A suite runs against `fermata up`, which it starts itself, or against any cluster with Fermata
//! installed, if both are set: `KUBECONFIG`, and `FERMATA_TEST_GATEWAY`, the address of its gateway.
//! The suites in `cluster_tests` need the cluster of `cargo xtask cluster`: they stop parts of it.

mod client;
mod cluster;
mod document;
mod git_server;
mod kept;
mod load;
mod namespace;
mod packages;
mod platform;
mod sockets;
mod ssh_server;
mod tools;
mod up;
mod wait;

pub use client::{Answer, Gateway};
pub use cluster::{Cluster, Container, SYSTEM};
pub use document::Document;
pub use git_server::{GitServer, LOGIN, git_lfs, has_git_lfs, pointer};
pub use kept::Kept;
pub use load::{Failure, Load, Report};
pub use namespace::{Space, test_function};
pub use packages::{gem, node_package, wheel};
pub use platform::Platform;
pub use sockets::Sockets;
pub use ssh_server::SshServer;
pub use tools::{examples, kubectl, program, repository};
pub use up::{Up, fermata, fermata_bin};
pub use wait::{DEADLINE, eventually, eventually_within};
