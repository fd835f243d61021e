//! The data path: from a client's connection to a function's and back, streaming both ways.

mod access;
mod caller;
pub(crate) mod client;
pub(crate) mod context;
mod destination;
pub(crate) mod events;
mod forwarding;
mod header_scan;
mod headers;
mod ids;
pub(crate) mod owners;
mod respond;
mod response_body;
#[cfg(test)]
mod sample;
pub(crate) mod server;
pub(crate) mod service;
mod stages;
mod timing;
mod tunnel;
