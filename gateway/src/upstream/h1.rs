//! One HTTP/1.1 connection to an instance.
//!
//! The connection is driven by the task of the request that uses it, not by one of its own: a
//! request then costs no hand-over between tasks, and giving the request up closes the connection.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, Connection, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep},
};

use super::{
    HeadBound, LARGEST_HEAD, NoAnswer, SendError, unsent_or_broken,
    wire::{Orders, Wire},
};
use crate::{
    clock::Micros,
    upstream::{deadlines::Deadlines, request_body::RequestBody},
};

/// The most bytes that are read ahead of the caller, and the largest head of a response.
const BUFFER: usize = LARGEST_HEAD;

/// The fields of a response that hyper's table holds. A larger one would cost every response.
const MOST_FIELDS: usize = 100;

/// A connection and all that belongs to it.
pub(crate) struct Link {
    sender: SendRequest<RequestBody>,
    driven: Driven,
    orders: Arc<Orders>,
    /// One timer for all exchanges: moving it on is cheaper than making one.
    timer: Pin<Box<Sleep>>,
    /// When its last exchange ended.
    pub(super) idle_since: Micros,
}

/// What moves the bytes.
enum Driven {
    Running(Connection<TokioIo<Wire>, RequestBody>),
    /// It has said that it is finished; after an upgrade its stream is still of use.
    Finished(Connection<TokioIo<Wire>, RequestBody>),
    /// It was finished and is closed.
    Closed,
}

// === impl Link ===

impl Link {
    /// Speaks HTTP/1.1 over the stream.
    pub(super) async fn over(stream: TcpStream) -> hyper::Result<Box<Self>> {
        let (wire, orders) = Wire::new(stream);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .max_header_size(LARGEST_HEAD)
            .handshake(TokioIo::new(wire))
            .await?;
        Ok(Box::new(Self {
            sender,
            driven: Driven::Running(connection),
            orders,
            timer: Box::pin(tokio::time::sleep_until(Instant::now())),
            idle_since: 0,
        }))
    }

    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
        deadlines: &mut Deadlines,
    ) -> Result<Response<Incoming>, SendError> {
        deadlines.arm(self.timer.as_mut());
        self.orders.write_within(deadlines.write_timeout());
        self.orders.await_head();
        let mut response = pin!(self.sender.try_send_request(request));
        let (driven, timer) = (&mut self.driven, &mut self.timer);
        let outcome = poll_fn(|context| {
            driven.drive(context);
            if let Poll::Ready(outcome) = response.as_mut().poll(context) {
                return Poll::Ready(outcome.map_err(unsent_or_broken));
            }
            // A connection that the function has ended while it was idle finishes without having
            // looked at the request, and gives it back only when it is dropped.
            if driven.close_finished()
                && let Poll::Ready(outcome) = response.as_mut().poll(context)
            {
                return Poll::Ready(outcome.map_err(unsent_or_broken));
            }
            let expired = deadlines.poll(timer.as_mut(), context);
            expired.map(|expired| Err(NoAnswer::Expired(expired).into()))
        })
        .await;
        match outcome {
            Ok(response) => {
                self.orders.head_came();
                Ok(response)
            }
            Err(SendError::Answer(NoAnswer::Broken(error))) if error.is_parse_too_large() => {
                Err(NoAnswer::HeadTooLarge(driven.head_bound()).into())
            }
            outcome => outcome,
        }
    }

    /// Moves bytes. To be called whenever the body of the response is polled.
    pub(crate) fn drive(&mut self, context: &mut Context<'_>) {
        self.driven.drive(context);
        self.driven.close_finished();
    }

    /// Lets the next exchange look first whether the function has ended the connection.
    pub(super) fn look_first(&self) {
        self.orders.look_first();
    }

    /// The timer, for the body.
    pub(crate) fn timer(&mut self) -> Pin<&mut Sleep> {
        self.timer.as_mut()
    }

    /// Whether the connection can carry another exchange. To be asked after the end of a response.
    pub(super) fn is_reusable(&mut self) -> bool {
        // The end of the exchange may only be noticed by driving on; nobody has to be woken for it.
        let mut context = Context::from_waker(std::task::Waker::noop());
        self.drive(&mut context);
        matches!(self.driven, Driven::Running(_))
            && matches!(self.sender.poll_ready(&mut context), Poll::Ready(Ok(())))
    }

    /// The bare stream after a `101 Switching Protocols`, with the bytes that were read beyond it;
    /// `None` if the connection is closed.
    pub(crate) fn into_stream(self) -> Option<(Wire, Bytes)> {
        match self.driven {
            Driven::Running(connection) | Driven::Finished(connection) => {
                let parts = connection.into_parts();
                Some((parts.io.into_inner(), parts.read_buf))
            }
            Driven::Closed => None,
        }
    }
}

// === impl Driven ===

impl Driven {
    /// Errors are not handled here: they come out of the response or its body as well.
    fn drive(&mut self, context: &mut Context<'_>) {
        if let Self::Running(connection) = self
            && Pin::new(connection).poll(context).is_ready()
            && let Self::Running(connection) = std::mem::replace(self, Self::Closed)
        {
            *self = Self::Finished(connection);
        }
    }

    /// Which bound the head is beyond that could not be read.
    fn head_bound(&mut self) -> HeadBound {
        let head = match std::mem::replace(self, Self::Closed) {
            Self::Running(connection) | Self::Finished(connection) => {
                connection.into_parts().read_buf
            }
            Self::Closed => Bytes::new(),
        };
        let head = &head[..head.len().min(LARGEST_HEAD)];
        // One more for the status.
        if memchr::memchr_iter(b'\n', head)
            .nth(MOST_FIELDS + 1)
            .is_some()
        {
            HeadBound::Fields(MOST_FIELDS)
        } else {
            HeadBound::Bytes(LARGEST_HEAD)
        }
    }

    /// Drops the connection if it is finished; says whether it was.
    fn close_finished(&mut self) -> bool {
        let finished = matches!(self, Self::Finished(_));
        if finished {
            *self = Self::Closed;
        }
        finished
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let running = matches!(self.driven, Driven::Running(_));
        formatter
            .debug_struct("Link")
            .field("running", &running)
            .finish_non_exhaustive()
    }
}
