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

use super::{
    ahead::Ahead,
    framing::{Finding, Framing},
    line::Line,
    refusal_rewriter::RefusalRewriter,
};
use crate::{
    causes,
    stall::{Stall, Stalled},
};

/// A client's connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    ahead: Ahead,
    /// How long the client may take no byte.
    write_timeout: Duration,
    stall: Stall,
    http1: Option<Http1>,
}

/// What there is to a connection of HTTP/1.1.
#[derive(Debug)]
struct Http1 {
    line: Arc<Line>,
    refusal: RefusalRewriter,
    framing: Framing,
    /// Whether heads with many fields can be read.
    wide: bool,
    /// Whether something was found that has to be seen to before hyper reads on.
    held: bool,
}

// === impl Wire ===

impl Wire {
    /// A connection of which these bytes were read already, whose client may take no byte for as long as
    /// the timeout.
    pub(super) fn new(stream: TcpStream, ahead: Vec<u8>, write_timeout: Duration) -> Self {
        Self {
            stream,
            ahead: Ahead::new(ahead),
            write_timeout,
            stall: Stall::default(),
            http1: None,
        }
    }

    /// The same, for HTTP/1.1.
    pub(super) fn on(self, line: Arc<Line>, refusal: RefusalRewriter) -> Self {
        let http1 = Http1 {
            line,
            refusal,
            framing: Framing::default(),
            wide: false,
            held: false,
        };
        Self {
            http1: Some(http1),
            ..self
        }
    }

    /// The same after [`Finding::ManyFields`], for a reader that can read many fields, and has these bytes
    /// before it once more.
    pub(super) fn widened(mut self, again: &[u8]) -> Self {
        self.ahead.put_back(again);
        if let Some(http1) = &mut self.http1 {
            http1.wide = true;
            http1.held = false;
        }
        self
    }

    /// The bare connection.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Passes on what was read already, as far as it may go.
    fn pass_ahead(&mut self, buffer: &mut ReadBuf<'_>) -> Poll<()> {
        if let Some(http1) = &mut self.http1 {
            let ahead = &mut self.ahead;
            if !http1.held {
                http1.held = ahead.admit(|bytes| http1.follow(bytes)).is_some();
            }
        } else {
            self.ahead.admit_all();
        }
        if self.ahead.pass(buffer) {
            Poll::Ready(())
        } else {
            // Who sees to what was found wakes nobody: it is the task that polls this.
            Poll::Pending
        }
    }

    /// Writes a refusal, if what hyper writes is one of its own.
    fn poll_refuse(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        let http1 = self.http1.as_mut()?;
        // Between two requests, when all responses are out, there is nothing else to be written.
        if !http1.line.is_idle() {
            return None;
        }
        let stream = &mut self.stream;
        let write = |rest: &[u8]| Pin::new(&mut *stream).poll_write(context, rest);
        Some(http1.refusal.poll_write(bytes, write))
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
            && causes::find::<Stalled>(error).is_some()
        {
            // The system would go on holding what it has for a client that does not take it.
            let at_once = Some(Duration::ZERO);
            let _ = SockRef::from(&self.stream).set_linger(at_once);
        }
        watched
    }
}

// === impl Http1 ===

impl Http1 {
    /// Follows the bytes; how many of them may pass, and how many were followed, if not all may.
    fn follow(&mut self, bytes: &[u8]) -> Option<(usize, usize)> {
        if self.line.is_switching() {
            // What comes now may be of another protocol.
            self.framing.lose();
            self.line.found(Finding::Lost, 0);
            return None;
        }
        let mut at = 0;
        loop {
            let outcome = self.framing.follow(&bytes[at..]);
            self.line.heard(self.framing.is_mid_head());
            let Err(found) = outcome else { return None };
            let (begin, end) = (at + found.begin, at + found.end);
            match found.finding {
                Finding::ManyFields if self.wide => at = end,
                Finding::Lost => {
                    self.line.found(Finding::Lost, self.framing.heads());
                    return None;
                }
                finding => {
                    self.line.found(finding, self.framing.heads());
                    return Some((begin, end));
                }
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.ahead.is_empty() {
            return this.pass_ahead(buffer).map(Ok);
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let Some(http1) = &mut this.http1 else {
            return Poll::Ready(Ok(()));
        };
        let new = &buffer.filled()[before..];
        let Some((passing, followed)) = http1.follow(new) else {
            return Poll::Ready(Ok(()));
        };
        http1.held = true;
        this.ahead = Ahead::held(&new[passing..], followed - passing);
        buffer.set_filled(before + passing);
        if passing == 0 {
            return Poll::Pending;
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
        if let Some(http1) = &self.http1 {
            http1.line.settle();
            if http1.line.is_look_due() && self.is_left() {
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
