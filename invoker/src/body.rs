//! Bodies of responses.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::{command::output::Output, worker::calls::Answer};

/// A body: all of it, or as it comes from whoever answers.
pub(crate) enum Body {
    /// All of it, or nothing any more.
    Whole(Option<Bytes>),
    /// From a worker.
    Worker(Answer),
    /// From a program's standard output.
    Command(Box<Output>),
}

/// The rest of a body will never come. The connection is broken off, so that the caller does not
/// take what there is for all.
#[derive(Debug, thiserror::Error)]
#[error("the function broke off in the middle of its answer")]
pub(crate) struct Aborted;

// === impl Body ===

impl Body {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let next = match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Self::Worker(answer) => answer.poll_next(context),
            Self::Command(output) => output.poll_next(context),
        };
        next.map(|next| next.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Worker(_) | Self::Command(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Worker(_) | Self::Command(_) => SizeHint::default(),
        }
    }
}
