//! Gives a reason to clients whose first request is not HTTP.
//!
//! What cannot be parsed never becomes a request: hyper itself refuses it with a bare status. Until the
//! first request of a connection has been taken, such a refusal is all that can be written to it, so
//! here it is replaced by a whole one. Later ones stay bare, because then bytes on their way out may
//! as well be a function's.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};

use crate::proxy::{failure::Failure, respond::refusal_text};

/// A connection on which hyper's own refusal is replaced.
#[derive(Debug)]
pub(super) struct Explaining<T> {
    inner: T,
    /// Whether a request has been taken.
    taken: Arc<AtomicBool>,
    header_limit: usize,
    replacement: Option<Bytes>,
}

// === impl Explaining ===

impl<T> Explaining<T> {
    /// The connection, and the flag to be set when its first request is taken.
    pub(super) fn new(inner: T, header_limit: usize) -> (Self, Arc<AtomicBool>) {
        let taken = Arc::new(AtomicBool::new(false));
        let connection = Self {
            inner,
            taken: taken.clone(),
            header_limit,
            replacement: None,
        };
        (connection, taken)
    }

    /// The reason for a refusal that begins with a status line.
    fn failure(&self, refusal: &[u8]) -> Failure {
        match refusal.get(9..12) {
            // The target and the headers are bounded together.
            Some(b"431" | b"414") => Failure::HeadersTooLarge {
                limit: self.header_limit,
            },
            _ => Failure::BadRequest("this is not a valid HTTP/1.1 request".into()),
        }
    }
}

impl<T: Read + Unpin> Read for Explaining<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: Write + Unpin> Write for Explaining<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.taken.load(Ordering::Relaxed) {
            return Pin::new(&mut self.inner).poll_write(context, buffer);
        }
        let this = &mut *self;
        let failure = this.failure(buffer);
        let rest = this
            .replacement
            .get_or_insert_with(|| refusal_text(&failure).into());
        while !rest.is_empty() {
            let written = ready!(Pin::new(&mut this.inner).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            rest.advance(written);
        }
        Poll::Ready(Ok(buffer.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.taken.load(Ordering::Relaxed) {
            return Pin::new(&mut self.inner).poll_write_vectored(context, buffers);
        }
        let first = buffers.iter().find(|buffer| !buffer.is_empty());
        self.poll_write(context, first.map_or(&[], |buffer| &**buffer))
    }
}
