//! The embedded cluster's own half of Kubernetes: the controllers that turn Deployments into pods
//! and clean up after owners, and a node that runs pods as processes of this machine.
//!
//! Everything here knows the cluster through its API alone, like the real controllers and the real
//! kubelet do. There are no containers: a container whose `command` names an executable of this
//! machine runs as that process, its image being taken as unpacked here.
//!
//! - [`admit`] is what the scheduler, the network and the kubelet would decide about a new pod.
//! - [`Controllers`] runs Deployment, ReplicaSet, garbage collection and namespaces.
//! - [`Node`] runs the pods. Each container is watched over by a small helper process,
//!   [`supervise`], so that it never outlives the node, however the node ends.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod admission;
mod controllers;
mod node;
mod ports;
mod supervisor;

pub use admission::{NODE_NAME, admit};
pub use controllers::{Controllers, Error as ControllersError};
pub use node::{
    Containers, Error as NodeError, Execution, Forwarding, Keep, Node, NotExecuted, NotForwarded,
    Options,
};
pub use supervisor::{open_files_argument, supervise};
