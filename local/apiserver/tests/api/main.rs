//! What holds for every server of the Kubernetes API. The tests start the embedded one, or go to the
//! one that the kubeconfig file in `FERMATA_TEST_API_KUBECONFIG` names: the same tests for both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_futures
)]

mod cluster;
mod custom;
mod definitions;
mod deletion;
mod discovery;
mod fixtures;
mod kubectl;
#[path = "../support/lines.rs"]
mod lines;
mod lists;
mod objects;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "../support/requests.rs"]
mod requests;
mod rules;
mod scale;
mod security;
mod tokens;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "../support/kubectl.rs"]
mod tool;
mod writes;
