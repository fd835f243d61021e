//! Keeps calls of functions whose callers do not wait for the answer, and makes them: through the gateway, as anybody
//! inside the cluster does, again and again until the function has answered or it is too late.
//!
//! It holds no rights in the cluster and asks it for nothing: what it has to know of a function comes with the call.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod allow;
mod delivery;
mod error;
mod event;
mod events;
mod id;
mod invocation;
mod metrics;
mod options;
mod problem;
mod rooms;
mod server;
mod store;

pub use allow::{AllowedHost, NotAHost};
#[cfg(feature = "nats")]
pub use error::NatsError;
pub use error::{Error, OpenError};
pub use events::Events;
pub use options::Options;
#[cfg(feature = "nats")]
pub use options::{NatsOptions, NatsUrl, NotForNats, StreamName};
