//! What is behind a failure.

use std::{error::Error, fmt, time::Duration};

use http::StatusCode;

use super::Reason;
use crate::upstream::{HeadBound, pool::ConnectError};

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum BadRequest {
    /// It is not HTTP.
    #[error("this is not a valid HTTP/1.1 request")]
    Syntax,
    /// A line ends as few others take for an end.
    #[error("a line of the head ends in a bare line feed")]
    BareLineFeed,
    /// It asks for a tunnel.
    #[error("CONNECT is for proxies, which this is not")]
    Connect,
    /// It says no host.
    #[error("there is no Host header")]
    NoHost,
    /// It says several.
    #[error("there is more than one Host header")]
    ManyHosts,
    /// The host cannot be one.
    #[error("the host is malformed")]
    Host,
    /// The path cannot be one.
    #[error("the path is malformed")]
    Path,
    /// Nobody would be there to speak the other protocol with.
    #[error(
        "a connection of another protocol cannot be asynchronous; ask without Prefer: respond-async"
    )]
    DeferredUpgrade,
    /// Its body has no end.
    #[error("the body of the request broke off")]
    Body,
}

/// Why somebody does not get to see the calls of a function.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum AccessRefused {
    /// Nobody is known to whom functions belong.
    #[error("this gateway knows nobody to whom functions belong")]
    Unknown,
    /// Others may read what is shown.
    #[error(
        "what is shown here can be read on the way: come by https, through a proxy that --trusted-proxies names, or from \
         inside the cluster"
    )]
    Plain,
    /// Nothing is shown.
    #[error(
        "the calls of a function are for whom it belongs to: show a token of the cluster as `Authorization: Bearer TOKEN`, \
         such as `kubectl create token ACCOUNT` prints"
    )]
    NoToken,
    /// Nobody knows what is shown.
    #[error("the cluster does not know this token, or it has expired")]
    Stranger,
    /// The one whose token it is may not do that.
    #[error(
        "your token does not allow to {verb} functions/invocations of {function}; the role edit of its namespace does"
    )]
    NotAllowed {
        /// What was to be done.
        verb: &'static str,
        /// Namespace and name.
        function: String,
    },
    /// The API server does not say.
    #[error("the API server does not say whether you may; try again")]
    Unanswered,
}

// === impl AccessRefused ===

impl AccessRefused {
    pub(super) const fn reason(&self) -> Reason {
        match self {
            Self::Unknown => Reason::OwnersUnknown,
            Self::NoToken | Self::Stranger => Reason::Unauthorized,
            Self::Plain | Self::NotAllowed { .. } => Reason::Forbidden,
            Self::Unanswered => Reason::ReviewUnavailable,
        }
    }

    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::NOT_IMPLEMENTED,
            Self::NoToken | Self::Stranger => StatusCode::UNAUTHORIZED,
            Self::Plain | Self::NotAllowed { .. } => StatusCode::FORBIDDEN,
            Self::Unanswered => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) const fn grpc_status(&self) -> &'static str {
        match self {
            Self::Unknown => "12",
            Self::NoToken | Self::Stranger => "16",
            Self::Plain | Self::NotAllowed { .. } => "7",
            Self::Unanswered => "14",
        }
    }
}

/// What a client did not send in time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum SlowClient {
    /// The head of its request.
    #[error("the head of the request did not come in time")]
    Head,
    /// A byte of its body, for this long.
    #[error("nothing of the request's body came for {} s", .0.as_secs_f64())]
    Body(Duration),
}

/// Why a pod takes no request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreachable {
    /// There is no connection to be had.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is, and it is closed before a request is written.
    #[error("it closed the connection at once")]
    ClosedAtOnce,
}

/// Who a request was sent to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Peer {
    /// An instance of the function.
    Function,
    /// The gateway that owns it.
    Owner,
}

/// What the peer did instead of answering.
#[derive(Debug)]
pub(crate) struct Reset {
    pub(crate) peer: Peer,
    pub(crate) cause: ResetCause,
}

/// What there is in place of a response.
#[derive(Debug)]
pub(crate) enum ResetCause {
    /// Something that is not HTTP.
    Invalid(hyper::Error),
    /// The end of the connection.
    Closed(hyper::Error),
    /// A connection that broke.
    Broke(hyper::Error),
    /// A head without an end, of more than this many bytes.
    BeforeHead(u64),
    /// A head that is too large.
    Head(HeadBound),
    /// A body that nobody can undo.
    ForeignCoding,
    /// Another protocol, for which nobody has asked.
    Switched,
}

// === impl Peer ===

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Function => "the function",
            Self::Owner => "the gateway that owns the function",
        })
    }
}

// === impl Reset ===

impl fmt::Display for Reset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.peer;
        match &self.cause {
            ResetCause::Invalid(_) => {
                write!(formatter, "{peer} gave an answer that is not valid HTTP")
            }
            ResetCause::Closed(_) => {
                write!(formatter, "{peer} closed the connection without an answer")
            }
            ResetCause::Broke(_) => {
                write!(formatter, "{peer} broke the connection without an answer")
            }
            ResetCause::BeforeHead(limit) => write!(
                formatter,
                "{peer} sent more than {limit} bytes before the head of its answer"
            ),
            ResetCause::Head(HeadBound::Fields(limit)) => {
                write!(
                    formatter,
                    "{peer} gave an answer with more than {limit} header fields"
                )
            }
            ResetCause::Head(HeadBound::Bytes(limit)) => {
                write!(
                    formatter,
                    "{peer} gave an answer with more than {limit} bytes of head"
                )
            }
            ResetCause::ForeignCoding => {
                write!(
                    formatter,
                    "{peer} gave an answer with a transfer coding other than chunked"
                )
            }
            ResetCause::Switched => {
                write!(
                    formatter,
                    "{peer} switched protocols without being asked to"
                )
            }
        }
    }
}

impl Error for Reset {
    /// What hyper's error was caused by: its own sentence is said already.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            ResetCause::Invalid(error) | ResetCause::Closed(error) | ResetCause::Broke(error) => {
                error.source()
            }
            ResetCause::BeforeHead(_)
            | ResetCause::Head(_)
            | ResetCause::ForeignCoding
            | ResetCause::Switched => None,
        }
    }
}
