//! Accepting connections, each with its place.

use std::{io, net::SocketAddr, time::Duration};

use tokio::net::{TcpListener, TcpStream};

use crate::{AddressFull, Seat, Seats, Seldom};

/// The pause after a connection could not be accepted and there was no idle one to close for it.
const PAUSE: Duration = Duration::from_millis(50);

/// Between two warnings of the same kind.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// A listening socket, and the places of its connections.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    seats: Seats,
    purpose: &'static str,
    full: Seldom,
    refused: Seldom,
    failed: Seldom,
}

/// A connection that has its place.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: TcpStream,
    /// Its other end.
    pub peer: SocketAddr,
    /// Its place.
    pub seat: Seat,
}

// === impl Listener ===

impl Listener {
    /// Accepts on the socket, within the bounds of the places; the purpose is for warnings.
    #[must_use]
    pub fn new(socket: TcpListener, seats: Seats, purpose: &'static str) -> Self {
        Self {
            socket,
            seats,
            purpose,
            full: Seldom::every(WARN_EVERY),
            refused: Seldom::every(WARN_EVERY),
            failed: Seldom::every(WARN_EVERY),
        }
    }

    /// The next connection. `counted` says whether those of an address are bounded together.
    ///
    /// While all connections that may be there are busy this waits; further ones wait in the system's
    /// queue. What goes wrong is logged, and tried again.
    ///
    /// # Cancel safety
    ///
    /// A connection that waits for its place is closed when the future is dropped; the others go on
    /// waiting in the system's queue.
    pub async fn next(&self, counted: impl Fn(SocketAddr) -> bool) -> Accepted {
        loop {
            let (stream, peer) = match self.socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.recover(&error).await;
                    continue;
                }
            };
            if self.seats.taken() >= self.seats.bounds().most {
                self.warn_of_full();
            }
            let address = counted(peer).then_some(peer.ip());
            match self.seats.take(address).await {
                Ok(seat) => return Accepted { stream, peer, seat },
                Err(refused) => self.warn_of_refusal(peer, &refused),
            }
        }
    }

    /// Stops listening. The connections that wait in the system's queue can still be accepted with the
    /// socket.
    #[must_use]
    pub fn into_parts(self) -> (TcpListener, Seats) {
        (self.socket, self.seats)
    }

    async fn recover(&self, error: &io::Error) {
        if let Some(count) = self.failed.count() {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                count,
                "cannot accept connections for {}; closing idle ones and trying again",
                self.purpose,
            );
        }
        // Mostly there are no more files to be opened, and each idle connection holds one. It closes
        // when its task runs.
        if self.seats.make_room() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn warn_of_full(&self) {
        if let Some(count) = self.full.count() {
            tracing::warn!(
                count,
                most = self.seats.bounds().most,
                "there are as many connections for {} as there may be; new ones take the place of those \
                 that have been idle longest",
                self.purpose,
            );
        }
    }

    fn warn_of_refusal(&self, peer: SocketAddr, refused: &AddressFull) {
        if let Some(count) = self.refused.count() {
            tracing::warn!(
                count,
                client = %peer.ip(),
                per_address = self.seats.bounds().per_address,
                error = refused as &dyn std::error::Error,
                "a connection for {} was closed at once",
                self.purpose,
            );
        }
    }
}
