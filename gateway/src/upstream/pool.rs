//! The connections to one instance.

use std::{io, net::SocketAddr, sync::Mutex, time::Duration};

use fermata_crds::Protocol;
use tokio::net::TcpStream;

use super::{Link, connect, h1, h2};
use crate::{
    clock::{self, Micros},
    sync::lock,
};

/// Idle HTTP/1 connections that are kept. More than that at once means a burst is over.
const MOST_IDLE: usize = 256;

/// How long an idle HTTP/1 connection is used again. Common servers close idle connections after 2
/// to 5 seconds, and a request written at that very moment is lost without being answered; a new
/// connection costs a fraction of a millisecond, and who is busy needs none.
const IDLE: Duration = Duration::from_millis(1500);

/// A connection that was idle for longer than this is looked at before it is used again. One that
/// goes from request to request is driven often enough to know its end, and is spared the system
/// call.
const LOOK_AFTER: Duration = Duration::from_micros(100);

/// How long one connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections that are kept for reuse.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// Newest last.
    #[expect(
        clippy::vec_box,
        reason = "links move between here and requests as one pointer"
    )]
    idle: Mutex<Vec<Box<h1::Link>>>,
    shared: Mutex<Vec<h2::Connection>>,
    /// Held while an HTTP/2 connection is opened, so that a burst opens one and not one each.
    opening: tokio::sync::Mutex<()>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The instance does not take it.
    #[error("cannot connect to the function's instance")]
    Connect(#[source] io::Error),
    /// It took it, but does not speak the protocol.
    #[error("the function's instance does not speak the declared protocol")]
    Handshake(#[source] hyper::Error),
}

// === impl Pool ===

impl Pool {
    /// An idle connection, if there is one that can be trusted.
    #[must_use]
    pub(crate) fn take_idle(&self, protocol: Protocol) -> Option<Link> {
        match protocol {
            Protocol::Http1 => self.take_idle_h1(clock::now()).map(Link::H1),
            Protocol::H2c => self.lease().map(Link::H2),
        }
    }

    /// Opens a connection, or joins one that somebody else opens meanwhile.
    ///
    /// # Errors
    ///
    /// None of them means that a byte of a request was sent.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes a half-open connection.
    pub(crate) async fn open(
        &self,
        address: SocketAddr,
        protocol: Protocol,
    ) -> Result<Link, ConnectError> {
        match protocol {
            Protocol::Http1 => {
                let stream = connect(address).await?;
                let link = h1::Link::over(stream).await;
                link.map(Link::H1).map_err(ConnectError::Handshake)
            }
            Protocol::H2c => {
                let _opening = self.opening.lock().await;
                if let Some(lease) = self.lease() {
                    return Ok(Link::H2(lease));
                }
                let stream = connect(address).await?;
                let connection = h2::Connection::over(stream).await;
                let connection = connection.map_err(ConnectError::Handshake)?;
                let lease = connection.lease();
                lock(&self.shared).push(connection);
                Ok(Link::H2(lease))
            }
        }
    }

    /// Takes over a connection that was opened for a probe.
    pub(crate) async fn donate(&self, stream: TcpStream, protocol: Protocol) {
        // A server of one thread may be waiting for the first byte on this very connection: using
        // it for the first request is more than a saving.
        if protocol == Protocol::Http1
            && let Ok(mut link) = h1::Link::over(stream).await
        {
            link.idle_since = clock::now();
            self.push(link);
        }
    }

    /// Takes a connection back after the end of a response; closes it if it is of no more use.
    pub(crate) fn give_back(&self, link: Link) {
        // An HTTP/2 lease goes back by being dropped.
        if let Link::H1(mut link) = link
            && link.is_reusable()
        {
            link.idle_since = clock::now();
            self.push(link);
        }
    }

    fn push(&self, link: Box<h1::Link>) {
        let mut idle = lock(&self.idle);
        if idle.len() < MOST_IDLE {
            idle.push(link);
        }
    }

    fn take_idle_h1(&self, now: Micros) -> Option<Box<h1::Link>> {
        // The newest one; if that is too old, so are all the others.
        let mut idle = lock(&self.idle);
        let newest = idle.pop()?;
        if is_fresh(&newest, now) {
            if now.saturating_sub(newest.idle_since) >= clock::micros(LOOK_AFTER) {
                newest.look_first();
            }
            return Some(newest);
        }
        let stale = std::mem::take(&mut *idle);
        drop(idle);
        drop((newest, stale));
        None
    }

    fn lease(&self) -> Option<h2::Lease> {
        let mut shared = lock(&self.shared);
        shared.retain(|connection| !connection.is_closed());
        shared
            .iter()
            .filter(|connection| connection.streams() < h2::STREAMS)
            .min_by_key(|connection| connection.streams())
            .map(h2::Connection::lease)
    }

    /// Closes connections that nobody has used for a while.
    pub(crate) fn close_idle(&self, now: Micros) {
        let mut idle = lock(&self.idle);
        let (fresh, stale) = std::mem::take(&mut *idle)
            .into_iter()
            .partition(|link| is_fresh(link, now));
        *idle = fresh;
        drop(idle);
        drop::<Vec<_>>(stale);
        let mut shared = lock(&self.shared);
        // One stays: it costs little and saves the next request a handshake.
        while shared.len() > 1 && shared.last().is_some_and(|last| last.streams() == 0) {
            shared.pop();
        }
    }

    /// Closes all idle connections.
    pub(crate) fn clear(&self) {
        let idle = std::mem::take(&mut *lock(&self.idle));
        let shared = std::mem::take(&mut *lock(&self.shared));
        drop((idle, shared));
    }
}

fn is_fresh(link: &h1::Link, now: Micros) -> bool {
    now.saturating_sub(link.idle_since) < clock::micros(IDLE)
}

async fn connect(address: SocketAddr) -> Result<TcpStream, ConnectError> {
    connect::open(address, CONNECT_TIMEOUT)
        .await
        .map_err(ConnectError::Connect)
}
