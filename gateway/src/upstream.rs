//! Connections to instances, and requests over them.

pub(crate) mod connect;
pub(crate) mod deadlines;
pub(crate) mod h1;
mod h2;
pub(crate) mod meter;
pub(crate) mod pool;
pub(crate) mod request_body;
pub(crate) mod wire;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::upstream::{
    deadlines::{Deadlines, Expired},
    request_body::RequestBody,
};

/// A connection that takes a request now.
#[derive(Debug)]
pub(crate) enum Link {
    /// HTTP/1.1: one exchange at a time.
    H1(Box<h1::Link>),
    /// HTTP/2: one of many streams.
    H2(h2::Lease),
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// The connection was closed before a byte of the request was written; here it is back.
    #[error("the connection was closed before the request was sent")]
    Unsent(Box<Request<RequestBody>>),
    /// A byte of it may have reached the function.
    #[error(transparent)]
    Answer(#[from] NoAnswer),
}

/// Why a request that may have reached the function has no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// The head of the response is larger than it may be.
    #[error("the head of the response is too large")]
    HeadTooLarge(HeadBound),
    /// The connection broke, or what came back was not HTTP.
    #[error("the exchange with the function broke off")]
    Broken(#[source] hyper::Error),
    /// A clock ran out.
    #[error("a timeout ran out")]
    Expired(Expired),
}

/// What bounds the head of a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HeadBound {
    /// The number of its fields.
    Fields(usize),
    /// Its size in bytes.
    Bytes(usize),
}

/// The largest head of a response, in bytes.
pub(crate) const LARGEST_HEAD: usize = 64 * 1024;

// === impl Link ===

impl Link {
    /// Sends the request and waits for the head of the response. The link then carries the body.
    ///
    /// # Errors
    ///
    /// Only [`SendError::Unsent`] allows another try.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the exchange up: an HTTP/1 connection is closed, an HTTP/2 stream
    /// is reset.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
        deadlines: &mut Deadlines,
    ) -> Result<Response<Incoming>, SendError> {
        match self {
            Self::H1(link) => link.send(request, deadlines).await,
            Self::H2(lease) => lease.send(request, deadlines).await,
        }
    }
}

/// Tells a request that comes back unsent from an exchange that broke.
fn unsent_or_broken(
    mut error: hyper::client::conn::TrySendError<Request<RequestBody>>,
) -> SendError {
    match error.take_message() {
        Some(request) => SendError::Unsent(Box::new(request)),
        None => NoAnswer::Broken(error.into_error()).into(),
    }
}
