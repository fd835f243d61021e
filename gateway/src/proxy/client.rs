//! Who is at the other end of a connection, and what the function is told about that.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use http::{HeaderMap, HeaderValue};

use crate::{
    cluster::peers::Entrance,
    hang_up::HangUp,
    options::Network,
    proxy::{forwarding, header_scan::HeaderScan, response_body::Streams},
    sync::lock,
    upstream::meter::Meter,
};

/// What a connection's requests have in common.
#[derive(Debug)]
pub(crate) struct Client {
    /// The other end of the connection.
    peer: IpAddr,
    /// Where it came in.
    entrance: Entrance,
    /// Who is told to be the client, which is another one where a proxy says so at the beginning.
    client: SocketAddr,
    /// Its address alone.
    address: HeaderValue,
    /// Whether what it says about who asks is believed.
    trusted: bool,
    /// The streams of an HTTP/2 connection.
    streams: Option<Arc<Streams>>,
    /// What lets an HTTP/1.1 connection look whether it is still there.
    hang_up: Option<Arc<HangUp>>,
    /// What watched the body of the last request, to be used again.
    meter: Mutex<Arc<Meter>>,
    /// The last `Forwarded` that was made, with the host it was made for: one connection mostly asks
    /// one host.
    forwarded: Mutex<Option<(HeaderValue, HeaderValue)>>,
}

// === impl Client ===

impl Client {
    /// The client behind a connection from the peer, which for a proxy of the transport is another one;
    /// it is believed if it is in one of the networks.
    #[must_use]
    pub(crate) fn new(
        peer: SocketAddr,
        client: SocketAddr,
        entrance: Entrance,
        trusted: &[Network],
    ) -> Self {
        let address = client.ip().to_canonical();
        Self {
            peer: peer.ip().to_canonical(),
            entrance,
            client: SocketAddr::new(address, client.port()),
            address: HeaderValue::try_from(address.to_string())
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            trusted: trusted.iter().any(|network| network.contains(address)),
            streams: None,
            hang_up: None,
            meter: Mutex::default(),
            forwarded: Mutex::new(None),
        }
    }

    /// The same, over an HTTP/2 connection with these streams.
    #[must_use]
    pub(crate) fn over(self, streams: Arc<Streams>) -> Self {
        Self {
            streams: Some(streams),
            ..self
        }
    }

    /// The same, over an HTTP/1.1 connection that can be told to look.
    #[must_use]
    pub(crate) fn watched(self, hang_up: Arc<HangUp>) -> Self {
        Self {
            hang_up: Some(hang_up),
            ..self
        }
    }

    /// The streams of its connection, if that is one of HTTP/2.
    #[must_use]
    pub(crate) fn streams(&self) -> Option<&Streams> {
        self.streams.as_deref()
    }

    /// What lets its connection look whether it is still there. HTTP/2 does that all the time.
    #[must_use]
    pub(crate) fn hang_up(&self) -> Option<&Arc<HangUp>> {
        self.hang_up.as_ref()
    }

    /// The address of the other end of its connection.
    #[must_use]
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Where it came in.
    #[must_use]
    pub(crate) fn entrance(&self) -> Entrance {
        self.entrance
    }

    /// Whether what it says about who asks is believed.
    #[must_use]
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Whether it is a process of this machine, or of this pod.
    #[must_use]
    pub(crate) fn is_on_this_machine(&self) -> bool {
        self.peer.is_loopback() && self.client.ip().is_loopback()
    }

    /// Waits for as long as the client does.
    ///
    /// # Cancel safety
    ///
    /// That of the wait.
    pub(crate) async fn while_connected<T>(&self, wait: impl Future<Output = T>) -> T {
        match &self.hang_up {
            Some(hang_up) => hang_up.while_connected(wait).await,
            None => wait.await,
        }
    }

    /// What watches the body of a request: the same as last time, if nothing else uses that any more.
    #[must_use]
    pub(crate) fn meter(&self) -> Arc<Meter> {
        let mut last = lock(&self.meter);
        if Arc::strong_count(&last) == 1 {
            last.reset();
        } else {
            *last = Arc::default();
        }
        last.clone()
    }

    /// Says who asks, for what host, and below which prefix of paths, if there is one. What the client
    /// itself said about that is replaced, unless it is a proxy that is trusted.
    pub(crate) fn add_forwarded(
        &self,
        headers: &mut HeaderMap,
        scan: &HeaderScan,
        host: &HeaderValue,
        prefix: Option<&str>,
    ) {
        let element = self.forwarded(host);
        if self.trusted {
            forwarding::add(headers, &self.address, &element, host, prefix);
        } else {
            if scan.forwarding {
                forwarding::remove(headers);
            }
            forwarding::set(headers, &self.address, element, host, prefix);
        }
    }

    fn forwarded(&self, host: &HeaderValue) -> HeaderValue {
        let mut last = lock(&self.forwarded);
        if let Some((known, element)) = &*last
            && known == host
        {
            return element.clone();
        }
        let element = forwarding::element(self.client, host);
        *last = Some((host.clone(), element.clone()));
        element
    }
}

#[cfg(test)]
mod tests;
