//! Opening connections.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// When the kernel begins to ask whether a silent peer is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);

/// Between two such questions; three without an answer end the connection.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);

/// Opens a connection to an instance.
///
/// # Errors
///
/// The system's, or `TimedOut`.
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
pub async fn open(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(timeout, TcpStream::connect(address))
        .await
        .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
    tune(&stream)?;
    Ok(stream)
}

/// Small writes go out at once, and a peer that vanishes is noticed within half a minute.
///
/// # Errors
///
/// The system's; the connection is of no use then.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
