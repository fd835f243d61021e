//! The admin listener: metrics, health, and statistics for the other gateways.

pub mod host;
pub mod metrics;
pub mod server;
