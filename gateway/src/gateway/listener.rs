//! The gateway's ports, and how many connections there may be on them.

use std::net::SocketAddr;

use fermata_listen::{Bounds, files};
use tokio::net::{TcpListener, TcpSocket};

use crate::{error::Error, options::Options};

/// Connections that wait to be accepted; the system's own bound (`net.core.somaxconn`) may be lower.
/// Beyond it the system drops those that come, and their clients wait for a second.
const BACKLOG: u32 = 4096;

/// The most connections of clients where nothing is said about it.
const MOST_CONNECTIONS: usize = 65_536;

/// A port that was taken.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) address: SocketAddr,
}

// === impl Listener ===

impl Listener {
    /// Takes a port.
    pub(super) fn bind(
        address: SocketAddr,
        purpose: &'static str,
        flag: &'static str,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Bind {
            address,
            purpose,
            flag,
            source,
        };
        let listen = || {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        };
        let socket = listen().map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }
}

/// How many connections of clients there may be on each of the two listeners, where this many files may be
/// open. Each request that runs has a second connection, to its function, and what is left is for
/// everything else.
pub(super) fn bounds(options: &Options, files: u64) -> Bounds {
    let most = options
        .max_connections
        .or(files::share(files, 4, MOST_CONNECTIONS));
    if most as u64 > files {
        tracing::warn!(
            most,
            files,
            "--max-connections is more than the files that this process may open; give less, or raise \
             the limit (ulimit -Hn)",
        );
    }
    let per_address = options.max_connections_per_address.or(most.div_ceil(2));
    Bounds { most, per_address }
}
