//! The admin listener: metrics, health, and statistics for the other gateways.

pub mod metrics;
pub mod pages;
