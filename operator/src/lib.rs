//! The operator of Fermata: makes of each `Function` its `Revision`s, of each `Revision` a
//! Deployment, and says in their statuses what came of it.
//!
//! ```text
//! Function ──► Revision ──► Deployment ──► pods
//!    │             └──────► ConfigMap (source functions)
//!    └───────► Service (leads in-cluster callers to the gateway)
//! ```
//!
//! It never scales: replicas are the gateway's. It deletes only Revisions beyond the history
//! limit; everything else goes by owner references. At rest it writes nothing.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod admin;
mod backoff;
mod builds;
mod cache;
mod children;
mod cluster;
mod context;
mod controller;
mod definitions;
mod digest;
mod drift;
#[cfg(test)]
mod fixtures;
mod function;
mod inherited;
mod looks;
mod metrics;
mod observed;
mod operator;
mod options;
mod plan;
mod queue;
mod revision;
mod sources;
mod unreadable;
mod writes;

pub use fermata_crds::reasons;

pub use definitions::{DefinitionsError, apply_definitions};
pub use operator::{Error, Operator};
pub use options::{Builds, Functions, FunctionsError, Options, Proxy, Scheme, SourceUser};
