//! The words by which machines tell failures apart.

/// One word for what became of a request that was not answered as a whole: the value of `X-Fermata-Reason`,
/// and of `reason` in the access log. Part of the API.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reason {
    /// Nothing routes there.
    NoSuchFunction,
    /// Nobody hears a topic of this name.
    NoSuchTopic,
    /// What is asked for is done by another method.
    MethodNotAllowed,
    /// A message would go to too many functions.
    TooManyFunctions,
    /// The request makes no sense.
    BadRequest,
    /// Its body has a transfer coding that is not known here.
    UnsupportedCoding,
    /// Its head is too large.
    HeadersTooLarge,
    /// Its body is too large.
    PayloadTooLarge,
    /// The client took too long to send it.
    ClientTimeout,
    /// Too many wait already.
    QueueFull,
    /// The function cannot start.
    StartFailed,
    /// The gateway stops.
    Draining,
    /// No instance took it in time.
    StartTimeout,
    /// It took too long, or one side fell silent.
    RequestTimeout,
    /// The head of the response took too long.
    FirstByteTimeout,
    /// No instance takes a connection.
    FunctionUnreachable,
    /// The function broke off.
    FunctionReset,
    /// The client left. Only in the log: nobody is there to be told, as for the next two.
    ClientClosed,
    /// The client took nothing of the response for too long.
    ClientStalled,
    /// Asynchronous calls are switched off.
    EventsOff,
    /// Asynchronous calls cannot be kept.
    EventsUnreachable,
    /// Nobody is known to whom functions belong.
    OwnersUnknown,
    /// Nothing shows who asks for the calls of a function.
    Unauthorized,
    /// Who asks may not see the calls of a function, or shows what others can read.
    Forbidden,
    /// The API server does not say who may see the calls of a function.
    ReviewUnavailable,
    /// The connection of another protocol, such as a WebSocket, broke.
    TunnelBroke,
}

// === impl Reason ===

impl Reason {
    /// The word.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NoSuchFunction => "NoSuchFunction",
            Self::NoSuchTopic => "NoSuchTopic",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::TooManyFunctions => "TooManyFunctions",
            Self::BadRequest => "BadRequest",
            Self::UnsupportedCoding => "UnsupportedCoding",
            Self::HeadersTooLarge => "HeadersTooLarge",
            Self::PayloadTooLarge => "PayloadTooLarge",
            Self::ClientTimeout => "ClientTimeout",
            Self::QueueFull => "QueueFull",
            Self::StartFailed => "StartFailed",
            Self::Draining => "Draining",
            Self::StartTimeout => "StartTimeout",
            Self::RequestTimeout => "RequestTimeout",
            Self::FirstByteTimeout => "FirstByteTimeout",
            Self::FunctionUnreachable => "FunctionUnreachable",
            Self::FunctionReset => "FunctionReset",
            Self::ClientClosed => "ClientClosed",
            Self::ClientStalled => "ClientStalled",
            Self::EventsOff => "EventsOff",
            Self::EventsUnreachable => "EventsUnreachable",
            Self::OwnersUnknown => "OwnersUnknown",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::ReviewUnavailable => "ReviewUnavailable",
            Self::TunnelBroke => "TunnelBroke",
        }
    }
}
