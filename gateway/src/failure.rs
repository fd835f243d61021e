//! Everything that can keep a request from being answered by its function, and the words for it.
//!
//! A failure keeps what caused it as its source; each says its own level only, and [`Failure::detail`] joins
//! them.

mod cause;
mod reason;
mod topic;

use std::{borrow::Cow, error::Error, fmt::Write, sync::Arc, time::Duration};

use http::StatusCode;

use crate::options::ErrorDetails;

pub(crate) use cause::{
    AccessRefused, BadRequest, Peer, Reset, ResetCause, SlowClient, Unreachable,
};
pub(crate) use reason::Reason;
pub(crate) use topic::TopicFailure;

/// Why the gateway answers instead of the function.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nothing routes there.
    #[error(
        "no function answers under this host and path; kubectl get functions -A shows the URLs"
    )]
    NoSuchFunction,
    /// The request makes no sense.
    #[error(transparent)]
    BadRequest(#[from] BadRequest),
    /// A message is not published.
    #[error(transparent)]
    Topic(#[from] TopicFailure),
    /// The body of the request has a transfer coding that is not known here.
    #[error(
        "the body has a transfer coding other than chunked; use Content-Encoding for what the \
         function is to undo"
    )]
    ForeignCoding,
    /// The head of the request is larger than this many bytes.
    #[error("the head of the request has more than {limit} bytes")]
    HeadersTooLarge {
        /// The bound.
        limit: usize,
    },
    /// The request has more than this many header fields.
    #[error("the request has more than {limit} header fields")]
    TooManyHeaders {
        /// The bound.
        limit: usize,
    },
    /// The body of the request is larger than this many bytes.
    #[error("the body of the request has more than {limit} bytes")]
    PayloadTooLarge {
        /// The bound.
        limit: u64,
    },
    /// The client took too long to send its request.
    #[error(transparent)]
    ClientTimeout(#[from] SlowClient),
    /// Nothing keeps calls whose callers do not wait.
    #[error(
        "asynchronous calls are switched off; events.store in the values of the chart switches them on. Call \
         without Prefer: respond-async to wait for the answer"
    )]
    EventsOff,
    /// A call that comes back has to fit as well.
    #[error("the call leaves too little room for the headers that are added when it is made later")]
    DeferredTooLarge,
    /// It has no name by which it could be called from within.
    #[error("this cannot be called asynchronously; ask without Prefer: respond-async")]
    NotDeferrable,
    /// What keeps them does not answer.
    #[error(
        "what keeps asynchronous calls does not answer; try again. Whether a new call was kept is not known: an \
         Idempotency-Key makes it once all the same"
    )]
    EventsUnreachable,
    /// Who asks does not get to see the calls of a function.
    #[error(transparent)]
    AccessRefused(#[from] AccessRefused),
    /// This many requests wait already.
    #[error("{limit} requests wait for an instance already; spec.scale.queue allows no more")]
    QueueFull {
        /// The bound.
        limit: usize,
    },
    /// The function cannot start; the sentence is the cluster's own.
    #[error("{0}")]
    StartFailed(Arc<str>),
    /// The gateway stops.
    #[error("this gateway is stopping; try again")]
    Draining,
    /// No instance took the request in time; what it waited for at the end.
    #[error("{0} within spec.timeouts.start{hint}", hint = .0.hint())]
    StartTimeout(Wait),
    /// The whole request took too long.
    #[error("the function took longer than spec.timeouts.request allows")]
    RequestTimeout,
    /// The head of the response took too long.
    #[error("the function did not begin to answer within spec.timeouts.firstByte")]
    FirstByteTimeout,
    /// The client, or the function, fell silent.
    #[error("nothing was sent for longer than spec.timeouts.idle allows")]
    IdleTimeout,
    /// The function took no byte of the request for this long.
    #[error("the function took no byte of the request for {} s", .0.as_secs_f64())]
    WriteTimeout(Duration),
    /// No instance takes a connection.
    #[error("pod {pod} takes no request")]
    FunctionUnreachable {
        /// The pod that was tried last.
        pod: Box<str>,
        /// What came of it.
        source: Unreachable,
    },
    /// The connection broke before the response, or what came was no response.
    #[error(transparent)]
    FunctionReset(#[from] Reset),
}

/// What requests wait for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Wait {
    /// For pods, or for pods to run.
    #[error("no instance of the function started")]
    Pods,
    /// For an instance to listen on its port.
    #[error("the function started, and nothing listens on $PORT ({0})")]
    Listening(u16),
    /// For an instance to be ready: it listens, and its probes do not succeed.
    #[error("the function runs, and its readiness probe does not succeed")]
    Ready,
    /// For an instance to become free.
    #[error("no instance of the function became free")]
    Free,
}

// === impl Wait ===

impl Wait {
    fn hint(self) -> &'static str {
        match self {
            Self::Free => "; see spec.scale.max and spec.concurrency",
            Self::Pods | Self::Listening(_) | Self::Ready => "",
        }
    }
}

// === impl Failure ===

impl Failure {
    /// One word for machines; part of the API.
    #[must_use]
    pub(crate) const fn reason(&self) -> Reason {
        match self {
            Self::NoSuchFunction => Reason::NoSuchFunction,
            Self::Topic(failure) => failure.reason(),
            Self::BadRequest(_) | Self::NotDeferrable => Reason::BadRequest,
            Self::ForeignCoding => Reason::UnsupportedCoding,
            Self::HeadersTooLarge { .. } | Self::TooManyHeaders { .. } | Self::DeferredTooLarge => {
                Reason::HeadersTooLarge
            }
            Self::PayloadTooLarge { .. } => Reason::PayloadTooLarge,
            Self::ClientTimeout(_) => Reason::ClientTimeout,
            Self::EventsOff => Reason::EventsOff,
            Self::EventsUnreachable => Reason::EventsUnreachable,
            Self::AccessRefused(why) => why.reason(),
            Self::QueueFull { .. } => Reason::QueueFull,
            Self::StartFailed(_) => Reason::StartFailed,
            Self::Draining => Reason::Draining,
            Self::StartTimeout(_) => Reason::StartTimeout,
            Self::RequestTimeout | Self::IdleTimeout | Self::WriteTimeout(_) => {
                Reason::RequestTimeout
            }
            Self::FirstByteTimeout => Reason::FirstByteTimeout,
            Self::FunctionUnreachable { .. } => Reason::FunctionUnreachable,
            Self::FunctionReset(_) => Reason::FunctionReset,
        }
    }

    /// The HTTP status.
    #[must_use]
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchFunction => StatusCode::NOT_FOUND,
            Self::Topic(failure) => failure.status(),
            Self::BadRequest(_) | Self::NotDeferrable => StatusCode::BAD_REQUEST,
            Self::ForeignCoding | Self::EventsOff => StatusCode::NOT_IMPLEMENTED,
            Self::HeadersTooLarge { .. } | Self::TooManyHeaders { .. } | Self::DeferredTooLarge => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::PayloadTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::AccessRefused(why) => why.status(),
            Self::ClientTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::QueueFull { .. }
            | Self::StartFailed(_)
            | Self::Draining
            | Self::EventsUnreachable => StatusCode::SERVICE_UNAVAILABLE,
            Self::StartTimeout(_)
            | Self::RequestTimeout
            | Self::FirstByteTimeout
            | Self::IdleTimeout
            | Self::WriteTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::FunctionUnreachable { .. } | Self::FunctionReset(_) => StatusCode::BAD_GATEWAY,
        }
    }

    /// The same in gRPC's terms
    /// (<https://github.com/grpc/grpc/blob/master/doc/statuscodes.md>).
    #[must_use]
    pub(crate) const fn grpc_status(&self) -> &'static str {
        match self {
            Self::NoSuchFunction | Self::Topic(_) | Self::ForeignCoding | Self::EventsOff => "12",
            Self::BadRequest(_) | Self::NotDeferrable => "3",
            Self::AccessRefused(why) => why.grpc_status(),
            Self::HeadersTooLarge { .. }
            | Self::TooManyHeaders { .. }
            | Self::DeferredTooLarge
            | Self::PayloadTooLarge { .. }
            | Self::QueueFull { .. } => "8",
            Self::ClientTimeout(_)
            | Self::StartTimeout(_)
            | Self::RequestTimeout
            | Self::FirstByteTimeout
            | Self::IdleTimeout
            | Self::WriteTimeout(_) => "4",
            Self::StartFailed(_)
            | Self::Draining
            | Self::EventsUnreachable
            | Self::FunctionUnreachable { .. }
            | Self::FunctionReset(_) => "14",
        }
    }

    /// After how many seconds another try makes sense.
    #[must_use]
    pub(crate) const fn retry_after(&self) -> Option<u32> {
        match self {
            Self::QueueFull { .. } | Self::Draining => Some(1),
            Self::EventsUnreachable | Self::AccessRefused(AccessRefused::Unanswered) => Some(5),
            Self::StartFailed(_) => Some(10),
            _ => None,
        }
    }

    /// The methods that would be understood.
    #[must_use]
    pub(crate) const fn allow(&self) -> Option<&'static str> {
        match self {
            Self::Topic(TopicFailure::OnlyPosted) => Some("POST"),
            _ => None,
        }
    }

    /// A sentence for the caller. What the cluster and the function say of themselves (names of pods, last
    /// lines of logs) is for those who may see the function; anybody else is told where it is.
    #[must_use]
    pub(crate) fn detail(&self, details: ErrorDetails) -> Cow<'static, str> {
        match (self, details) {
            (Self::StartFailed(_), ErrorDetails::Public) => {
                "the function cannot start; its status \
                 and its events say why, for those who may see them"
                    .into()
            }
            (Self::FunctionUnreachable { .. }, ErrorDetails::Public) => {
                "no instance of the function takes a connection".into()
            }
            _ => self.with_causes().into(),
        }
    }

    /// All levels, from the outermost to the cause of it all.
    fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::upstream::pool::ConnectError;

    #[test]
    fn each_level_is_told_once_to_those_who_may_know() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "refused");
        let failure = Failure::FunctionUnreachable {
            pod: "hello-1".into(),
            source: ConnectError::Connect(refused).into(),
        };
        assert_eq!(
            failure.detail(ErrorDetails::Full),
            "pod hello-1 takes no request: cannot connect to the function's instance: refused"
        );
        assert_eq!(
            failure.detail(ErrorDetails::Public),
            "no instance of the function takes a connection"
        );
    }

    #[test]
    fn a_start_that_takes_too_long_says_what_is_waited_for() {
        let detail = |wait| Failure::StartTimeout(wait).detail(ErrorDetails::Public);
        assert_eq!(
            detail(Wait::Listening(8080)),
            "the function started, and nothing listens on $PORT (8080) within spec.timeouts.start"
        );
        assert_eq!(
            detail(Wait::Free),
            "no instance of the function became free within spec.timeouts.start; see \
             spec.scale.max and spec.concurrency"
        );
    }

    #[test]
    fn who_broke_off_is_named() {
        let failure = Failure::from(Reset {
            peer: Peer::Owner,
            cause: ResetCause::BeforeHead(7),
        });
        assert_eq!(
            failure.detail(ErrorDetails::Public),
            "the gateway that owns the function sent more than 7 bytes before the head of its answer"
        );
    }
}
