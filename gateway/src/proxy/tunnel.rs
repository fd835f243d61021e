//! Upgraded connections: bytes both ways until one side has had enough.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    failure::Reason,
    proxy::{access::Record, destination::Destination},
    upstream::h1,
};

/// Bytes on their way, in each direction.
const BUFFER: usize = 16 * 1024;

/// How long a client may take to follow up on the switch of protocols.
const SWITCH_TIMEOUT: Duration = Duration::from_secs(10);

/// A client's connection and an instance's, joined.
#[derive(Debug)]
pub(crate) struct Tunnel {
    client: OnUpgrade,
    link: h1::Link,
    destination: Destination,
    record: Record,
}

/// A stream that notes when it was last read from.
struct Watched<T> {
    inner: T,
    last_read: Arc<AtomicU64>,
}

// === impl Tunnel ===

impl Tunnel {
    /// Joins the two. The instance stays busy, and the request is not over, until the tunnel ends.
    #[must_use]
    pub(crate) fn new(
        client: OnUpgrade,
        link: h1::Link,
        destination: Destination,
        record: Record,
    ) -> Self {
        Self {
            client,
            link,
            destination,
            record,
        }
    }

    /// Runs until both sides are closed, one breaks, both are silent for longer than the function
    /// allows, or it is aborted.
    pub(crate) async fn run(self, abort: CancellationToken) {
        let Self {
            client,
            link,
            destination,
            mut record,
        } = self;
        let idle = destination.idle_timeout();
        let bytes = tokio::select! {
            bytes = join(client, link, idle) => bytes,
            () = abort.cancelled() => Ok(0),
        };
        match bytes {
            Ok(bytes) => {
                record.sent(usize::try_from(bytes).unwrap_or(usize::MAX));
                record.complete();
            }
            Err(error) => {
                tracing::debug!(pod = destination.endpoint().pod(), %error, "tunnel broke");
                record.broke(Reason::TunnelBroke);
            }
        }
        drop((record, destination));
    }
}

/// Copies both ways; returns the bytes that went to the client.
async fn join(client: OnUpgrade, link: h1::Link, idle: Option<Duration>) -> io::Result<u64> {
    let client = tokio::time::timeout(SWITCH_TIMEOUT, client)
        .await
        .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))?
        .map_err(io::Error::other)?;
    let (function, ahead) = link.into_stream().ok_or(io::ErrorKind::NotConnected)?;
    let last_read = Arc::new(AtomicU64::new(clock::now()));
    let mut client = Watched {
        inner: TokioIo::new(client),
        last_read: last_read.clone(),
    };
    let mut function = Watched {
        inner: function,
        last_read: last_read.clone(),
    };
    let copy = async {
        client.write_all(&ahead).await?;
        let copied =
            copy_bidirectional_with_sizes(&mut client, &mut function, BUFFER, BUFFER).await;
        copied.map(|(_, to_client)| to_client + ahead.len() as u64)
    };
    tokio::select! {
        copied = copy => copied,
        () = silence(&last_read, idle) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Returns when nothing was read for the given time.
async fn silence(last_read: &AtomicU64, idle: Option<Duration>) {
    let Some(idle) = idle else {
        return std::future::pending().await;
    };
    loop {
        let silent = clock::now().saturating_sub(last_read.load(Ordering::Relaxed));
        let rest = idle.saturating_sub(Duration::from_micros(silent));
        if rest.is_zero() {
            return;
        }
        tokio::time::sleep_until(Instant::now() + rest).await;
    }
}

// === impl Watched ===

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        self.last_read.store(clock::now(), Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
