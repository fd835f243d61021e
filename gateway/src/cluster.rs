//! What the gateway knows of the cluster: the objects it watches, and the other gateways.

pub(crate) mod events;
pub(crate) mod index;
pub(crate) mod ownership;
pub(crate) mod peer_client;
pub(crate) mod peers;
pub(crate) mod slim;
pub(crate) mod watch;
