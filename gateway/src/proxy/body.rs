//! Bodies on their way through. Nothing is collected: every frame goes on as it comes.

mod exchange;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::proxy::{
    access::Record,
    deadlines::{Break, Deadlines, Expired, Meter},
    site::Site,
    streams::Streams,
    upstream::Link,
};
use exchange::Exchange;

pub(crate) use exchange::Shared;

/// Why a body ends too early. Whoever reads it must not take that for its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The request's body is larger than allowed.
    #[error("the body of the request has more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// The client's connection broke.
    #[error("the client's connection broke")]
    Client(#[source] hyper::Error),
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

/// The body of a request, on its way to the function.
#[derive(Debug)]
pub struct RequestBody {
    inner: Incoming,
    /// Bytes that may still come, and how many those were at first.
    bound: Option<(u64, u64)>,
    meter: Option<Arc<Meter>>,
}

/// The body of a response, on its way to the client.
#[derive(Debug)]
pub struct ResponseBody(Inner);

#[derive(Debug)]
enum Inner {
    Full(Option<Bytes>),
    Exchange(Box<Exchange>),
    /// Over a stream, which nobody polls while the client takes nothing.
    Shared(Arc<Shared>),
}

// === impl RequestBody ===

impl RequestBody {
    /// A body of at most `limit` bytes; 0 is no bound.
    #[must_use]
    pub fn new(inner: Incoming, limit: u64, meter: Option<Arc<Meter>>) -> Self {
        if let Some(meter) = &meter
            && inner.is_end_stream()
        {
            meter.end();
        }
        Self {
            inner,
            bound: (limit > 0).then_some((limit, limit)),
            meter,
        }
    }

    fn note(&self, reason: Break) {
        if let Some(meter) = &self.meter {
            meter.break_off(reason);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            if let Some(meter) = &self.meter {
                meter.wait();
            }
            return Poll::Pending;
        };
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                self.note(Break::Client);
                return Poll::Ready(Some(Err(BodyError::Client(error))));
            }
            None => {
                if let Some(meter) = &self.meter {
                    meter.end();
                }
                return Poll::Ready(None);
            }
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        if let Some((left, limit)) = &mut self.bound {
            match left.checked_sub(length as u64) {
                Some(rest) => *left = rest,
                None => {
                    let limit = *limit;
                    self.note(Break::TooLarge);
                    return Poll::Ready(Some(Err(BodyError::TooLarge { limit })));
                }
            }
        }
        if let Some(meter) = &self.meter {
            meter.count(length);
            if self.inner.is_end_stream() {
                meter.end();
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

// === impl ResponseBody ===

impl ResponseBody {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self(Inner::Full(None))
    }

    /// A body of the gateway's own.
    #[must_use]
    pub fn full(bytes: Bytes) -> Self {
        Self(Inner::Full(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    /// The body of a function's response; over HTTP/2 it is one of the connection's streams.
    #[must_use]
    pub fn exchange(
        body: Incoming,
        link: Link,
        deadlines: Deadlines,
        site: Site,
        record: Record,
        streams: Option<&Streams>,
    ) -> Self {
        let mut exchange = Exchange::new(body, link, deadlines, site, record);
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
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Inner::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Exchange(exchange) => exchange.poll_frame(context),
            Inner::Shared(shared) => shared.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Full(bytes) => bytes.is_none(),
            Inner::Exchange(exchange) => exchange.is_end_stream(),
            Inner::Shared(shared) => shared.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.remaining() as u64))
            }
            Inner::Exchange(exchange) => exchange.size_hint(),
            Inner::Shared(shared) => shared.size_hint(),
        }
    }
}
