//! The admin listener: metrics, health, and statistics for the other gateways.

pub(crate) mod metrics;
pub(crate) mod pages;
