//! Who sends a request: a client, or another gateway for one.

use std::net::IpAddr;

use http::HeaderValue;

use crate::{
    backend::registry::Registry,
    cluster::peers::{Entrance, Peers, Sender},
    proxy::{client::Client, headers::read_mark},
};

/// Who sends a request.
#[derive(Debug)]
pub(crate) struct Caller {
    /// A client, or a gateway that passes it on.
    pub(crate) sender: Sender,
    /// Where it came in.
    pub(crate) entrance: Entrance,
    ip: IpAddr,
    /// The client's namespace, as the gateway says that passes the request on.
    told: Option<Box<str>>,
    /// How often gateways have passed it on.
    pub(crate) hops: u32,
}

// === impl Caller ===

impl Caller {
    /// Who sends a request, given the mark of one that a gateway passes on.
    pub(super) fn of(peers: &Peers, client: &Client, mark: Option<&HeaderValue>) -> Self {
        let sender = match mark {
            None => Sender::Client,
            Some(_) if peers.has_address(client.peer()) => Sender::Gateway,
            Some(_) => Sender::Unknown,
        };
        let mark = mark.filter(|_| sender == Sender::Gateway);
        let (told, hops) = mark.map_or((None, 0), read_mark);
        Self {
            sender,
            entrance: client.entrance(),
            ip: client.peer(),
            told,
            hops,
        }
    }

    /// The namespace of the pod that calls, if it is a function's.
    #[must_use]
    pub(crate) fn namespace(&self, registry: &Registry) -> Option<Box<str>> {
        match self.sender {
            Sender::Gateway => self.told.clone(),
            Sender::Client | Sender::Unknown => registry.namespace_of(self.ip),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(sender: Sender, entrance: Entrance) -> Self {
        Self {
            sender,
            entrance,
            ip: IpAddr::from([192, 0, 2, 7]),
            told: None,
            hops: 0,
        }
    }
}
