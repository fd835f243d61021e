//! Shared HTTP/2 connections to an instance.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep},
};

use super::{
    LARGEST_HEAD, NoAnswer, SendError, unsent_or_broken,
    wire::{Orders, Wire},
};
use crate::upstream::{deadlines::Deadlines, request_body::RequestBody};

/// Streams that one connection carries before another is opened: what servers commonly allow.
pub(super) const STREAMS: u32 = 100;

/// Bytes that a function may send ahead of a slow client, per stream. Functions are near: this much is on
/// its way for a fraction of a millisecond.
const STREAM_WINDOW: u32 = 64 * 1024;

/// The same for all streams of a connection together: as much as all of them, or a few clients that do
/// not read would stop the answers to all the others.
const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;

/// Bytes that wait to be sent to a slow function, per stream.
const SEND_BUFFER: usize = 64 * 1024;

/// A connection.
pub(super) struct Connection {
    sender: SendRequest<RequestBody>,
    orders: Arc<Orders>,
    streams: Arc<AtomicU32>,
}

/// The right to one stream.
pub(crate) struct Lease {
    sender: SendRequest<RequestBody>,
    orders: Arc<Orders>,
    streams: Arc<AtomicU32>,
    timer: Option<Pin<Box<Sleep>>>,
}

// === impl Connection ===

impl Connection {
    /// Speaks HTTP/2 over the stream, with prior knowledge. The connection ends when the last
    /// sender is dropped and the last stream is over.
    pub(super) async fn over(stream: TcpStream) -> hyper::Result<Self> {
        let (wire, orders) = Wire::new(stream);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(LARGEST_HEAD).unwrap_or(u32::MAX))
            .handshake(TokioIo::new(wire))
            .await?;
        tokio::spawn(async move {
            // The streams tell their requests what went wrong.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to a function broke");
            }
        });
        Ok(Self {
            sender,
            orders,
            streams: Arc::default(),
        })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(super) fn streams(&self) -> u32 {
        self.streams.load(Ordering::Relaxed)
    }

    pub(super) fn lease(&self) -> Lease {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Lease {
            sender: self.sender.clone(),
            orders: self.orders.clone(),
            streams: self.streams.clone(),
            timer: None,
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("streams", &self.streams())
            .finish_non_exhaustive()
    }
}

// === impl Lease ===

impl Lease {
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
        deadlines: &mut Deadlines,
    ) -> Result<Response<Incoming>, SendError> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now())));
        deadlines.arm(timer.as_mut());
        self.orders.write_within(deadlines.write_timeout());
        let mut response = pin!(self.sender.try_send_request(request));
        poll_fn(|context| {
            if let Poll::Ready(outcome) = response.as_mut().poll(context) {
                return Poll::Ready(outcome.map_err(unsent_or_broken));
            }
            let expired = deadlines.poll(timer.as_mut(), context);
            expired.map(|expired| Err(NoAnswer::Expired(expired).into()))
        })
        .await
    }

    /// The timer, for the body; there is one since the request was sent.
    pub(crate) fn timer(&mut self) -> Option<Pin<&mut Sleep>> {
        self.timer.as_mut().map(Pin::as_mut)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Lease").finish_non_exhaustive()
    }
}
