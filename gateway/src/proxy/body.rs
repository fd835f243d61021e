//! Bodies on their way through. Nothing is collected: every frame goes on as it comes.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::proxy::{
    access::Record,
    deadlines::{Break, Deadlines, Expired, Meter},
    site::Site,
    upstream::Link,
};

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
}

/// A response that is still coming, and all that has to live as long.
#[derive(Debug)]
pub struct Exchange {
    body: Incoming,
    link: Option<Link>,
    deadlines: Deadlines,
    site: Option<Site>,
    record: Option<Record>,
    /// Why it breaks off, until the client has got what came before.
    broken: Option<BodyError>,
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
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
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

    /// The body of a function's response.
    #[must_use]
    pub fn exchange(
        body: Incoming,
        link: Link,
        deadlines: Deadlines,
        site: Site,
        record: Record,
    ) -> Self {
        let mut exchange = Exchange {
            body,
            link: Some(link),
            deadlines,
            site: Some(site),
            record: Some(record),
            broken: None,
        };
        if exchange.body.is_end_stream() {
            exchange.finish();
            return Self::empty();
        }
        Self(Inner::Exchange(Box::new(exchange)))
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
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Full(bytes) => bytes.is_none(),
            Inner::Exchange(exchange) => exchange.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.remaining() as u64))
            }
            Inner::Exchange(exchange) => exchange.body.size_hint(),
        }
    }
}

// === impl Exchange ===

impl Exchange {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(Link::H1(link)) = &mut self.link {
            link.drive(context);
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.deadlines.touch();
                if let (Some(record), Some(data)) = (&mut self.record, frame.data_ref()) {
                    record.sent(data.len());
                }
                // A body of known length may not be asked again after its last frame.
                if self.body.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.break_off(context, BodyError::Function(error), "FunctionReset")
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let expired = ready!(self.poll_expired(context));
                self.break_off(context, BodyError::Expired(expired), "RequestTimeout")
            }
        }
    }

    /// Ends the response in the middle. The error is told only when asked again, because on hearing
    /// it the server drops what it has not written yet.
    fn break_off(
        &mut self,
        context: &mut Context<'_>,
        error: BodyError,
        reason: &'static str,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // Without its link the connection to the function closes, or the stream is reset.
        self.link = None;
        if let Some(record) = &mut self.record {
            record.broke(reason);
        }
        self.release();
        self.broken = Some(error);
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_expired(&mut self, context: &mut Context<'_>) -> Poll<Expired> {
        let timer = match &mut self.link {
            Some(Link::H1(link)) => Some(link.timer()),
            Some(Link::H2(lease)) => lease.timer(),
            None => None,
        };
        match timer {
            Some(timer) => self.deadlines.poll(timer, context),
            None => Poll::Pending,
        }
    }

    /// The response is complete: its instance takes the next request, over the same connection if
    /// that is in order.
    fn finish(&mut self) {
        if let (Some(link), Some(site)) = (self.link.take(), &self.site) {
            site.endpoint().pool.give_back(link);
        }
        if let Some(record) = &mut self.record {
            record.complete();
        }
        self.release();
    }

    fn release(&mut self) {
        self.site = None;
        self.record = None;
    }
}
