//! A response that is still coming from its function.

use std::{
    pin::Pin,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::ResponseBodyError;
use crate::{
    proxy::{access::Record, destination::Destination},
    sync::lock,
    upstream::{
        Link,
        deadlines::{Deadlines, Expired},
    },
};

/// A response that is still coming, and all that has to live as long.
#[derive(Debug)]
pub(crate) struct Exchange {
    body: Incoming,
    link: Option<Link>,
    deadlines: Deadlines,
    destination: Option<Destination>,
    record: Option<Record>,
    /// Why it breaks off, until the client has got what came before.
    broken: Option<ResponseBodyError>,
}

/// One that can be given up by somebody else than who polls it.
#[derive(Debug)]
pub(crate) struct Shared {
    exchange: Mutex<Exchange>,
    /// Moves on with each poll; odd from when a frame is handed over until the next one is asked for.
    step: AtomicU32,
}

// === impl Exchange ===

impl Exchange {
    pub(super) fn new(
        body: Incoming,
        link: Link,
        deadlines: Deadlines,
        destination: Destination,
        record: Record,
    ) -> Self {
        Self {
            body,
            link: Some(link),
            deadlines,
            destination: Some(destination),
            record: Some(record),
            broken: None,
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    pub(super) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
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
                self.break_off(context, ResponseBodyError::Function(error))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let expired = ready!(self.poll_expired(context));
                self.break_off(context, ResponseBodyError::Expired(expired))
            }
        }
    }

    /// Ends the response in the middle. The error is told only when asked again, because on hearing
    /// it the server drops what it has not written yet.
    fn break_off(
        &mut self,
        context: &mut Context<'_>,
        error: ResponseBodyError,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        self.give_up(error);
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn give_up(&mut self, error: ResponseBodyError) {
        // Without its link the connection to the function closes, or the stream is reset.
        self.link = None;
        if let Some(record) = &mut self.record {
            record.broke(error.reason());
        }
        self.release();
        self.broken = Some(error);
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
    pub(super) fn finish(&mut self) {
        if let (Some(link), Some(destination)) = (self.link.take(), &self.destination) {
            destination.endpoint().pool.give_back(link);
        }
        if let Some(record) = &mut self.record {
            record.complete();
        }
        self.release();
    }

    fn release(&mut self) {
        self.destination = None;
        self.record = None;
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(exchange: Exchange) -> Self {
        Self {
            exchange: Mutex::new(exchange),
            step: AtomicU32::new(0),
        }
    }

    pub(super) fn poll_frame(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        // Only who polls moves it on.
        let asked = (self.step.load(Ordering::Relaxed) | 1).wrapping_add(1);
        self.step.store(asked, Ordering::Relaxed);
        let polled = lock(&self.exchange).poll_frame(context);
        if polled.is_ready() {
            self.step.store(asked | 1, Ordering::Relaxed);
        }
        polled
    }

    pub(super) fn is_end_stream(&self) -> bool {
        lock(&self.exchange).is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        lock(&self.exchange).size_hint()
    }

    /// Where it stands, if the client has something to take before more is asked for.
    pub(crate) fn handed_over(&self) -> Option<u32> {
        let step = self.step.load(Ordering::Relaxed);
        (step % 2 == 1).then_some(step)
    }

    /// Ends it in the middle: the instance is free for others, and the stream is reset as soon as the
    /// client takes anything.
    pub(crate) fn give_up(&self) {
        lock(&self.exchange).give_up(ResponseBodyError::Stalled);
    }
}
