//! Opening connections.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

/// When the kernel begins to ask whether a silent peer is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);

/// Between two such questions; three without an answer end the connection.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);

/// How long the first try to open a connection may take; each further one may take twice as long.
/// Instances are near. One that does not answer so soon has too many connections that wait to be
/// accepted and dropped the question, which the system itself would put again only after a second.
const FIRST_TRY: Duration = Duration::from_millis(100);

/// Opens a connection to an instance.
///
/// # Errors
///
/// The system's, or `TimedOut`.
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
pub(crate) async fn open(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + timeout;
    let mut patience = FIRST_TRY;
    while Instant::now() < deadline {
        let until = deadline.min(Instant::now() + patience);
        if let Ok(opened) = timeout_at(until, TcpStream::connect(address)).await {
            let stream = opened?;
            tune(&stream)?;
            return Ok(stream);
        }
        patience *= 2;
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Small writes go out at once, and a peer that vanishes is noticed within half a minute.
///
/// # Errors
///
/// The system's; the connection is of no use then.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use tokio::{net::TcpSocket, time::timeout};

    use super::*;

    #[tokio::test]
    async fn a_question_that_was_dropped_is_put_again_before_the_system_would() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        let is_full = Duration::from_millis(50);
        while let Ok(opened) = timeout(is_full, TcpStream::connect(address)).await {
            waiting.push(opened.unwrap());
        }
        let one_more = open(address, Duration::from_millis(900));
        let accepting = async {
            tokio::task::yield_now().await;
            for _ in &waiting {
                listener.accept().await.unwrap();
            }
        };
        let (opened, ()) = tokio::join!(one_more, accepting);
        opened.unwrap();
    }
}
