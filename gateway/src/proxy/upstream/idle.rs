//! Looking, before a kept connection is used again, whether the function has ended it.
//!
//! Nobody polls an idle connection, and what has arrived on it meanwhile may not have been reported
//! by the system yet. A request that is written to a connection whose end lies unread in the
//! socket is lost; one system call shows that end.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;

/// A stream that can be told to look at its socket before it reads.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TokioIo<TcpStream>,
    look: Look,
}

/// Tells a stream to look.
#[derive(Clone, Debug, Default)]
pub(super) struct Look(Arc<AtomicBool>);

// === impl Look ===

impl Look {
    /// The next read looks first.
    pub(super) fn first(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_due(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

// === impl Watched ===

impl Watched {
    pub(super) fn new(stream: TcpStream) -> (Self, Look) {
        let look = Look::default();
        let stream = TokioIo::new(stream);
        let watched = Self {
            stream,
            look: look.clone(),
        };
        (watched, look)
    }

    pub(super) fn into_inner(self) -> TcpStream {
        self.stream.into_inner()
    }

    /// Ready with the end of the stream, or with what forbids to use it.
    fn poll_end(&self) -> Poll<io::Result<()>> {
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(self.stream.inner()).peek(&mut byte) {
            Ok(0) => Poll::Ready(Ok(())),
            // An answer that nobody has asked for must not become that to the next request.
            Ok(_) => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.look.is_due()
            && let Poll::Ready(end) = self.poll_end()
        {
            return Poll::Ready(end);
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
