//! What the end-to-end suites share: a platform to test, requests to it, and waiting for things to
//! become true.
//!
//! A suite runs against `fermata up`, which it starts itself, or against any cluster with Fermata
//! installed: `FERMATA_TEST_KUBECONFIG` names the kubeconfig and `FERMATA_TEST_GATEWAY` the address
//! of the gateway.

mod client;
mod namespace;
mod platform;
mod tools;
mod wait;

pub use client::{Answer, Gateway};
pub use namespace::Space;
pub use platform::{Platform, Up, fermata, fermata_bin};
pub use tools::{examples, kubectl, program, repository};
pub use wait::{DEADLINE, eventually};
