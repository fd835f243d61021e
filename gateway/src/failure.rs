//! Everything that can keep a request from being answered by its function.

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::StatusCode;

use crate::options::ErrorDetails;

/// Why the gateway answers instead of the function.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// Nothing routes there.
    NoSuchFunction,
    /// The request makes no sense.
    BadRequest(Cow<'static, str>),
    /// The body of the request has a transfer coding that is not known here.
    ForeignCoding,
    /// The head of the request is larger than this many bytes.
    HeadersTooLarge {
        /// The bound.
        limit: usize,
    },
    /// The request has more than this many header fields.
    TooManyHeaders {
        /// The bound.
        limit: usize,
    },
    /// The body of the request is larger than this many bytes.
    PayloadTooLarge {
        /// The bound.
        limit: u64,
    },
    /// The client took too long to send its request.
    ClientTimeout(Cow<'static, str>),
    /// This many requests wait already.
    QueueFull {
        /// The bound.
        limit: usize,
    },
    /// The function cannot start; the sentence is the cluster's own.
    StartFailed(Arc<str>),
    /// The gateway stops.
    Draining,
    /// No instance took the request in time; what it waited for at the end.
    StartTimeout(Wait),
    /// The whole request took too long.
    RequestTimeout,
    /// The head of the response took too long.
    FirstByteTimeout,
    /// The client, or the function, fell silent.
    IdleTimeout,
    /// The function took no byte of the request for this long.
    WriteTimeout(Duration),
    /// No instance takes a connection.
    FunctionUnreachable(Cow<'static, str>),
    /// The connection broke before the response, or what came was no response.
    FunctionReset(Cow<'static, str>),
}

/// What requests wait for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wait {
    /// For pods, or for pods to run.
    Pods,
    /// For an instance to listen on its port.
    Listening(u16),
    /// For an instance to be ready: it listens, and its probes do not succeed.
    Ready,
    /// For an instance to become free.
    Free,
}

// === impl Failure ===

impl Failure {
    /// One word for machines; part of the API.
    #[must_use]
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::NoSuchFunction => "NoSuchFunction",
            Self::BadRequest(_) => "BadRequest",
            Self::ForeignCoding => "UnsupportedCoding",
            Self::HeadersTooLarge { .. } | Self::TooManyHeaders { .. } => "HeadersTooLarge",
            Self::PayloadTooLarge { .. } => "PayloadTooLarge",
            Self::ClientTimeout(_) => "ClientTimeout",
            Self::QueueFull { .. } => "QueueFull",
            Self::StartFailed(_) => "StartFailed",
            Self::Draining => "Draining",
            Self::StartTimeout(_) => "StartTimeout",
            Self::RequestTimeout | Self::IdleTimeout | Self::WriteTimeout(_) => "RequestTimeout",
            Self::FirstByteTimeout => "FirstByteTimeout",
            Self::FunctionUnreachable(_) => "FunctionUnreachable",
            Self::FunctionReset(_) => "FunctionReset",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchFunction => StatusCode::NOT_FOUND,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::ForeignCoding => StatusCode::NOT_IMPLEMENTED,
            Self::HeadersTooLarge { .. } | Self::TooManyHeaders { .. } => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::PayloadTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ClientTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::QueueFull { .. } | Self::StartFailed(_) | Self::Draining => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::StartTimeout(_)
            | Self::RequestTimeout
            | Self::FirstByteTimeout
            | Self::IdleTimeout
            | Self::WriteTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::FunctionUnreachable(_) | Self::FunctionReset(_) => StatusCode::BAD_GATEWAY,
        }
    }

    /// The same in gRPC's terms
    /// (<https://github.com/grpc/grpc/blob/master/doc/statuscodes.md>).
    #[must_use]
    pub(crate) const fn grpc_status(&self) -> &'static str {
        match self {
            Self::NoSuchFunction | Self::ForeignCoding => "12",
            Self::BadRequest(_) => "3",
            Self::HeadersTooLarge { .. }
            | Self::TooManyHeaders { .. }
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
            | Self::FunctionUnreachable(_)
            | Self::FunctionReset(_) => "14",
        }
    }

    /// After how many seconds another try makes sense.
    #[must_use]
    pub(crate) const fn retry_after(&self) -> Option<u32> {
        match self {
            Self::QueueFull { .. } | Self::Draining => Some(1),
            Self::StartFailed(_) => Some(10),
            _ => None,
        }
    }

    /// A sentence for the caller. What the cluster and the function say of themselves (names of pods, last
    /// lines of logs) is for those who may see the function; anybody else is told where it is.
    #[must_use]
    pub(crate) fn detail(&self, details: ErrorDetails) -> Cow<'_, str> {
        match (self, details) {
            (Self::StartFailed(_), ErrorDetails::Public) => {
                "the function cannot start; its status \
                 and its events say why, for those who may see them"
                    .into()
            }
            (Self::FunctionUnreachable(_), ErrorDetails::Public) => {
                "no instance of the function takes a connection".into()
            }
            _ => self.full_detail(),
        }
    }

    fn full_detail(&self) -> Cow<'_, str> {
        match self {
            Self::NoSuchFunction => "no function answers under this host and path; \
                 kubectl get functions -A shows the URLs"
                .into(),
            Self::BadRequest(detail)
            | Self::ClientTimeout(detail)
            | Self::FunctionUnreachable(detail)
            | Self::FunctionReset(detail) => (&**detail).into(),
            Self::ForeignCoding => "the body has a transfer coding other than chunked; use \
                 Content-Encoding for what the function is to undo"
                .into(),
            Self::HeadersTooLarge { limit } => {
                format!("the head of the request has more than {limit} bytes").into()
            }
            Self::TooManyHeaders { limit } => {
                format!("the request has more than {limit} header fields").into()
            }
            Self::PayloadTooLarge { limit } => {
                format!("the body of the request has more than {limit} bytes").into()
            }
            Self::QueueFull { limit } => format!(
                "{limit} requests wait for an instance already; spec.scale.queue allows no more"
            )
            .into(),
            Self::StartFailed(detail) => (&**detail).into(),
            Self::Draining => "this gateway is stopping; try again".into(),
            Self::StartTimeout(wait) => match wait {
                Wait::Pods => {
                    "no instance of the function started within spec.timeouts.start".into()
                }
                Wait::Listening(port) => format!(
                    "the function started, and nothing listens on $PORT ({port}) within \
                     spec.timeouts.start"
                )
                .into(),
                Wait::Ready => {
                    "the function runs, and its readiness probe does not succeed within \
                     spec.timeouts.start"
                        .into()
                }
                Wait::Free => "no instance of the function became free within \
                     spec.timeouts.start; see spec.scale.max and spec.concurrency"
                    .into(),
            },
            Self::RequestTimeout => {
                "the function took longer than spec.timeouts.request allows".into()
            }
            Self::FirstByteTimeout => "the function did not begin to answer within \
                 spec.timeouts.firstByte"
                .into(),
            Self::IdleTimeout => {
                "nothing was sent for longer than spec.timeouts.idle allows".into()
            }
            Self::WriteTimeout(limit) => format!(
                "the function took no byte of the request for {} s",
                limit.as_secs_f64()
            )
            .into(),
        }
    }
}
