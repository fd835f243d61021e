//! The data path: from a client's connection to a function's and back, streaming both ways.

pub mod access;
pub mod body;
pub mod causes;
pub mod client;
pub mod deadlines;
pub mod failure;
pub mod forward;
pub mod hangup;
pub mod headers;
pub mod ids;
pub mod respond;
#[cfg(test)]
mod sample;
pub mod server;
pub mod service;
pub mod site;
pub mod stall;
pub mod streams;
pub mod survey;
pub mod timing;
pub mod tunnel;
pub mod upstream;
