//! One HTTP/1.1 connection to an instance.
//!
//! The connection is driven by the task of the request that uses it, not by one of its own: a
//! request then costs no hand-over between tasks, and giving the request up closes the connection.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
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

use super::{SendError, unsent_or_broken};
use crate::{
    clock::Micros,
    proxy::{body::RequestBody, deadlines::Deadlines},
};

/// The most bytes that are read ahead of the caller, and the largest head of a response.
const BUFFER: usize = 64 * 1024;

/// A connection and all that belongs to it.
pub struct Link {
    sender: SendRequest<RequestBody>,
    connection: Connection<TokioIo<TcpStream>, RequestBody>,
    /// Whether the connection has said that it is finished.
    finished: bool,
    /// One timer for all exchanges: moving it on is cheaper than making one.
    timer: Pin<Box<Sleep>>,
    /// When its last exchange ended.
    pub(super) idle_since: Micros,
}

// === impl Link ===

impl Link {
    /// Speaks HTTP/1.1 over the stream.
    pub(super) async fn over(stream: TcpStream) -> hyper::Result<Box<Self>> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Box::new(Self {
            sender,
            connection,
            finished: false,
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
        let mut response = pin!(self.sender.try_send_request(request));
        let (connection, finished) = (&mut self.connection, &mut self.finished);
        let timer = &mut self.timer;
        poll_fn(|context| {
            drive(connection, finished, context);
            if let Poll::Ready(outcome) = response.as_mut().poll(context) {
                return Poll::Ready(outcome.map_err(unsent_or_broken));
            }
            let expired = deadlines.poll(timer.as_mut(), context);
            expired.map(|expired| Err(SendError::Expired(expired)))
        })
        .await
    }

    /// Moves bytes. To be called whenever the body of the response is polled.
    pub(crate) fn drive(&mut self, context: &mut Context<'_>) {
        drive(&mut self.connection, &mut self.finished, context);
    }

    /// The timer, for the body.
    pub(crate) fn timer(&mut self) -> Pin<&mut Sleep> {
        self.timer.as_mut()
    }

    /// Whether the connection can carry another exchange. To be asked after the end of a response.
    pub(super) fn is_reusable(&mut self) -> bool {
        if self.finished {
            return false;
        }
        // The end of the exchange may only be noticed by driving on; nobody has to be woken for it.
        let mut context = Context::from_waker(std::task::Waker::noop());
        self.drive(&mut context);
        !self.finished && matches!(self.sender.poll_ready(&mut context), Poll::Ready(Ok(())))
    }

    /// The bare stream after a `101 Switching Protocols`, with the bytes that were read beyond it.
    pub(crate) fn into_stream(self) -> (TcpStream, Bytes) {
        let parts = self.connection.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }
}

/// Errors are not handled here: they come out of the response or its body as well.
fn drive(
    connection: &mut Connection<TokioIo<TcpStream>, RequestBody>,
    finished: &mut bool,
    context: &mut Context<'_>,
) {
    if !*finished {
        *finished = Pin::new(connection).poll(context).is_ready();
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Link")
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}
