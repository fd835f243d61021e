//! The bytes of one connection to a function.
//!
//! Before a kept connection is used again it can be looked at, whether the function has ended it:
//! nobody polls an idle connection, and what has arrived on it meanwhile may not have been reported by
//! the system yet. A request that is written to a connection whose end lies unread in the socket is
//! lost; one system call shows that end.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{clock, stall::Stall};

/// Bytes that may come before the head of an answer is complete: that head, as much as may be read with its
/// end, and some informational answers (1xx), which have no other end.
const BEFORE_HEAD: u64 = 256 * 1024;

/// Too much came before the head of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("more than {0} bytes came before the head of the answer")]
pub(crate) struct NoHead(pub u64);

/// A connection to a function.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    orders: Arc<Orders>,
    stall: Stall,
}

/// What the exchanges over a connection tell it.
#[derive(Debug, Default)]
pub(super) struct Orders {
    look: AtomicBool,
    /// How long the function may take no byte, in microseconds; 0 is for ever.
    write_timeout: AtomicU64,
    /// Bytes that may still come until a head is complete; 0 while none is awaited.
    before_head: AtomicU64,
}

// === impl Orders ===

impl Orders {
    /// The next read looks first.
    pub(super) fn look_first(&self) {
        self.look.store(true, Ordering::Relaxed);
    }

    /// From now on the function may take no byte for this long.
    pub(super) fn write_within(&self, timeout: Duration) {
        self.write_timeout
            .store(clock::micros(timeout), Ordering::Relaxed);
    }

    /// The head of an answer is awaited.
    pub(super) fn await_head(&self) {
        self.before_head.store(BEFORE_HEAD, Ordering::Relaxed);
    }

    /// The head is there.
    pub(super) fn head_came(&self) {
        self.before_head.store(0, Ordering::Relaxed);
    }

    /// So many bytes have come.
    fn count(&self, bytes: usize) -> io::Result<()> {
        let left = self.before_head.load(Ordering::Relaxed);
        if left == 0 {
            return Ok(());
        }
        match left.checked_sub(bytes as u64) {
            None | Some(0) => Err(io::Error::other(NoHead(BEFORE_HEAD))),
            Some(left) => {
                self.before_head.store(left, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn is_look_due(&self) -> bool {
        self.look.load(Ordering::Relaxed) && self.look.swap(false, Ordering::Relaxed)
    }

    fn write_timeout(&self) -> Duration {
        Duration::from_micros(self.write_timeout.load(Ordering::Relaxed))
    }
}

// === impl Wire ===

impl Wire {
    pub(super) fn new(stream: TcpStream) -> (Self, Arc<Orders>) {
        let orders = Arc::<Orders>::default();
        let wire = Self {
            stream,
            orders: orders.clone(),
            stall: Stall::default(),
        };
        (wire, orders)
    }

    /// Ready with the end of the stream, or with what forbids to use it.
    fn poll_end(&self) -> Poll<io::Result<()>> {
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(&self.stream).peek(&mut byte) {
            Ok(0) => Poll::Ready(Ok(())),
            // An answer that nobody has asked for must not become that to the next request.
            Ok(_) => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn watch(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            return self.stall.watch(Duration::ZERO, context, outcome);
        }
        let limit = self.orders.write_timeout();
        self.stall.watch(limit, context, outcome)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.orders.is_look_due()
            && let Poll::Ready(end) = self.poll_end()
        {
            return Poll::Ready(end);
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let count = buffer.filled().len() - before;
        Poll::Ready(self.orders.count(count))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, outcome)
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
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, outcome)
    }
}
