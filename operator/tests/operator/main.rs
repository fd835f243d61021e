//! The operator against the API server of the embedded cluster. There are no controllers and no
//! pods: the tests play the Deployment controller, the node and the gateway.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;
mod conflicts;
mod create;
mod definitions;
mod drift;
mod failures;
mod git;
mod leader;
mod many;
mod namespaces;
mod orphans;
mod pod_template;
mod robust;
mod roll;
mod security;
mod source;
mod world;
