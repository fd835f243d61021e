//! The body of a request on its way to a function. Nothing is collected: every frame goes on as it comes.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::meter::{Break, Meter};

/// Why the body of a request ends too early. Whoever reads it must not take that for its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestBodyError {
    /// It is larger than allowed.
    #[error("the body of the request has more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// The client's connection broke.
    #[error("the client's connection broke")]
    Client(#[source] hyper::Error),
}

/// The body of a request, on its way to the function.
#[derive(Debug)]
pub(crate) struct RequestBody {
    inner: Incoming,
    /// Bytes that may still come, and how many those were at first.
    bound: Option<(u64, u64)>,
    meter: Option<Arc<Meter>>,
}

// === impl RequestBody ===

impl RequestBody {
    /// A body of at most `limit` bytes; 0 is no bound.
    #[must_use]
    pub(crate) fn new(inner: Incoming, limit: u64, meter: Option<Arc<Meter>>) -> Self {
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
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
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
                return Poll::Ready(Some(Err(RequestBodyError::Client(error))));
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
                    return Poll::Ready(Some(Err(RequestBodyError::TooLarge { limit })));
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
