//! The Fermata API, group `fermata.dev`, version `v1alpha1`: what a user writes ([`Function`]),
//! what the operator makes of it ([`Revision`]), and how a language is run ([`Runtime`]).
//!
//! This crate holds types and pure decisions that more than one part has to take the same way
//! (names, labels, who owns a host). It does no I/O and depends on no other part of Fermata.

pub mod backlog;
pub mod conditions;
pub mod crd;
mod delivery;
mod duration;
pub mod expose;
pub mod function;
pub mod git;
pub mod grpc;
pub mod names;
pub mod pod_failure;
pub mod pod_security;
pub mod pods;
pub mod probes;
pub mod reasons;
pub mod recurrence;
pub mod revision;
pub mod routes;
mod rules;
pub mod runtime;
#[cfg(any(test, feature = "sample"))]
pub mod sample;
pub mod scale;
pub mod schema;
pub mod source;
pub mod source_files;
pub mod template;
pub mod topic;
pub mod trigger;

pub use delivery::{DeadLetter, Delivery, DeliveryBackoff};
pub use duration::{DurationError, GoDuration};
pub use expose::{Expose, Visibility};
pub use function::{ColdStart, Function, FunctionSpec, FunctionStatus, TrafficTarget};
pub use git::{BUNDLES_SUFFIX, GitSource, GitWebhook, SourceStatus};
pub use revision::{BuiltLayer, Revision, RevisionBuild, RevisionSpec, RevisionStatus};
pub use runtime::{Runtime, RuntimeBuild, RuntimeSpec};
pub use scale::{Metric, Scale, Schedule};
pub use source::{BuildOptions, ConfigMapSource, Source};
pub use template::{Protocol, SecurityLevel, SecurityOptions, Template, Timeouts};
pub use topic::{MessageOrder, Output, Subscription, TopicTrigger};
pub use trigger::{
    ConcurrencyPolicy, RunResult, Trigger, TriggerBatch, TriggerRun, TriggerSchedule, TriggerStatus,
};

/// The API group of every Fermata resource.
pub const GROUP: &str = "fermata.dev";

/// The served and stored API version.
pub const VERSION: &str = "v1alpha1";
