//! The ways in: an in-process client, and TLS on a loopback port.

pub(crate) mod client;
pub(crate) mod kubeconfig;
pub(crate) mod listener;
pub(crate) mod pki;
