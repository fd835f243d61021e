//! The body of a response on its way to a client. Nothing is collected: every frame goes on as it comes.

mod exchange;
mod streams;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{
    failure::Reason,
    proxy::{access::Record, destination::Destination},
    upstream::{
        Link,
        deadlines::{Deadlines, Expired},
    },
};
use exchange::{Exchange, Shared};

pub(crate) use streams::Streams;

/// Why the body of a response ends too early. Whoever reads it must not take that for its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResponseBodyError {
    /// The function's connection broke.
    #[error("the function's connection broke")]
    Function(#[source] hyper::Error),
    /// A clock ran out.
    #[error("a timeout ran out")]
    Expired(Expired),
    /// The client took nothing of it for too long.
    #[error("the client took no byte for too long")]
    Stalled,
}

/// The body of a response, on its way to the client.
#[derive(Debug)]
pub(crate) struct ResponseBody(Inner);

#[derive(Debug)]
enum Inner {
    Full(Option<Bytes>),
    Exchange(Box<Exchange>),
    /// What the events program says.
    Events(Box<(Incoming, Record)>),
    /// Over a stream, which nobody polls while the client takes nothing.
    Shared(Arc<Shared>),
}

// === impl ResponseBodyError ===

impl ResponseBodyError {
    /// The word for it in the access log.
    fn reason(&self) -> Reason {
        match self {
            Self::Function(_) => Reason::FunctionReset,
            Self::Expired(Expired::Client(_)) => Reason::ClientTimeout,
            Self::Expired(Expired::FirstByte | Expired::Request | Expired::Idle) => {
                Reason::RequestTimeout
            }
            Self::Stalled => Reason::ClientStalled,
        }
    }
}

// === impl ResponseBody ===

impl ResponseBody {
    /// No body.
    #[must_use]
    pub(crate) fn empty() -> Self {
        Self(Inner::Full(None))
    }

    /// A body of the gateway's own.
    #[must_use]
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self(Inner::Full(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    /// What the events program says.
    #[must_use]
    pub(crate) fn events(body: Incoming, mut record: Record) -> Self {
        if body.is_end_stream() {
            record.complete();
            return Self::empty();
        }
        Self(Inner::Events(Box::new((body, record))))
    }

    /// The body of a function's response; over HTTP/2 it is one of the connection's streams.
    #[must_use]
    pub(crate) fn exchange(
        body: Incoming,
        link: Link,
        deadlines: Deadlines,
        destination: Destination,
        record: Record,
        streams: Option<&Streams>,
    ) -> Self {
        let mut exchange = Exchange::new(body, link, deadlines, destination, record);
        if exchange.is_end_stream() {
            exchange.finish();
            return Self::empty();
        }
        let Some(streams) = streams else {
            return Self(Inner::Exchange(Box::new(exchange)));
        };
        let shared = Arc::new(Shared::new(exchange));
        streams.add(&shared);
        Self(Inner::Shared(shared))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        match &mut self.0 {
            Inner::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Exchange(exchange) => exchange.poll_frame(context),
            Inner::Events(relayed) => {
                let (body, record) = &mut **relayed;
                let frame = std::task::ready!(Pin::new(&mut *body).poll_frame(context));
                match &frame {
                    Some(Ok(frame)) => record.sent(frame.data_ref().map_or(0, Bytes::len)),
                    Some(Err(_)) => record.broke(Reason::EventsUnreachable),
                    None => {}
                }
                // Who takes as many bytes as were announced may not ask for more.
                if frame.is_none() || body.is_end_stream() {
                    record.complete();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(ResponseBodyError::Function)))
            }
            Inner::Shared(shared) => shared.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Full(bytes) => bytes.is_none(),
            Inner::Exchange(exchange) => exchange.is_end_stream(),
            Inner::Events(relayed) => relayed.0.is_end_stream(),
            Inner::Shared(shared) => shared.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.remaining() as u64))
            }
            Inner::Exchange(exchange) => exchange.size_hint(),
            Inner::Events(relayed) => relayed.0.size_hint(),
            Inner::Shared(shared) => shared.size_hint(),
        }
    }
}
