//! The bytes of one client's connection.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::FutureExt;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready},
    net::TcpStream,
};

use super::{line::Line, refusal::Refusal};
use crate::proxy::stall::{self, Stall};

/// A client's connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    /// Bytes that were read already, to find out what the client speaks, and how many of them are
    /// passed on.
    ahead: (Vec<u8>, usize),
    /// How long the client may take no byte.
    write_timeout: Duration,
    stall: Stall,
    /// The HTTP/1.1 connection over it, and what is written in place of hyper's refusals.
    line: Option<(Arc<Line>, Refusal)>,
}

// === impl Wire ===

impl Wire {
    /// A connection of which these bytes were read already, whose client may take no byte for as long as
    /// the timeout.
    pub(super) fn new(stream: TcpStream, ahead: Vec<u8>, write_timeout: Duration) -> Self {
        Self {
            stream,
            ahead: (ahead, 0),
            write_timeout,
            stall: Stall::default(),
            line: None,
        }
    }

    /// The same, for HTTP/1.1.
    pub(super) fn on(self, line: Arc<Line>, refusal: Refusal) -> Self {
        Self {
            line: Some((line, refusal)),
            ..self
        }
    }

    /// The bare connection.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Passes on what was read already; says whether there was anything.
    fn pass_ahead(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let (bytes, passed) = &mut self.ahead;
        let rest = &bytes[*passed..];
        if rest.is_empty() {
            return false;
        }
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        *passed += count;
        if *passed == bytes.len() {
            self.ahead = (Vec::new(), 0);
        }
        true
    }

    /// Writes a refusal, if what hyper writes is one of its own.
    fn poll_refuse(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        let (line, refusal) = self.line.as_mut()?;
        // Between two requests, when all responses are out, there is nothing else to be written.
        if !line.is_idle() {
            return None;
        }
        let stream = &mut self.stream;
        let write = |rest: &[u8]| Pin::new(&mut *stream).poll_write(context, rest);
        Some(refusal.poll_write(bytes, write))
    }

    /// Whether the client has ended its side. What it has sent before may still be unread.
    fn is_left(&self) -> bool {
        let ready = self.stream.ready(Interest::READABLE).now_or_never();
        ready.is_some_and(|ready| ready.is_ok_and(Ready::is_read_closed))
    }

    fn watch(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let watched = self.stall.watch(self.write_timeout, context, outcome);
        if let Poll::Ready(Err(error)) = &watched
            && stall::find(error).is_some()
        {
            // The system would go on holding what it has for a client that does not take it.
            let at_once = Some(Duration::ZERO);
            let _ = SockRef::from(&self.stream).set_linger(at_once);
        }
        watched
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if !self.pass_ahead(buffer) {
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        }
        if let Some((line, _)) = &self.line
            && buffer.filled().len() > before
        {
            line.arrived();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = match self.poll_refuse(context, bytes) {
            Some(refused) => refused,
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        };
        self.watch(context, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        if let Some((line, _)) = &self.line {
            line.settle();
            if line.is_look_due() && self.is_left() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
        Poll::Ready(Ok(()))
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
        let first = slices.iter().find(|slice| !slice.is_empty());
        let outcome = match self.poll_refuse(context, first.map_or(&[], |slice| slice)) {
            Some(refused) => refused,
            None => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
        };
        self.watch(context, outcome)
    }
}
