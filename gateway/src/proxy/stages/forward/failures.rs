//! What went wrong between the gateway and an instance, as the failure that it is.

use std::error::Error;

use crate::{
    backend::endpoint::Endpoint,
    causes,
    failure::{BadRequest, Failure, Peer, Reset, ResetCause, SlowClient, Unreachable},
    proxy::destination::Destination,
    stall::Stalled,
    upstream::{
        NoAnswer,
        deadlines::Expired,
        meter::{Break, Meter},
        request_body::RequestBodyError,
        wire::NoHead,
    },
};

/// The instance, or the owner, did not take a connection, or took it and closed it before the request.
pub(super) fn unreachable(endpoint: &Endpoint, source: impl Into<Unreachable>) -> Failure {
    Failure::FunctionUnreachable {
        pod: endpoint.pod().into(),
        source: source.into(),
    }
}

/// There is no head of a response. `limit` is that of the request's body.
pub(super) fn no_answer(
    destination: &Destination,
    error: NoAnswer,
    meter: Option<&Meter>,
    limit: u64,
) -> Failure {
    let cause = match error {
        NoAnswer::Expired(expired) => return expired_before_head(expired),
        NoAnswer::HeadTooLarge(bound) => ResetCause::Head(bound),
        NoAnswer::Broken(error) => {
            // An HTTP/2 stream does not tell why its request's body ended; the meter does.
            match meter.and_then(Meter::broken).or_else(|| body_break(&error)) {
                Some(Break::TooLarge) => return Failure::PayloadTooLarge { limit },
                Some(Break::Client) => return BadRequest::Body.into(),
                None => {}
            }
            if let Some(Stalled(limit)) = causes::find(&error) {
                return Failure::WriteTimeout(limit);
            }
            reset_cause(error)
        }
    };
    let peer = peer(destination);
    Reset { peer, cause }.into()
}

fn expired_before_head(expired: Expired) -> Failure {
    match expired {
        Expired::FirstByte => Failure::FirstByteTimeout,
        Expired::Request => Failure::RequestTimeout,
        Expired::Idle => Failure::IdleTimeout,
        Expired::Client(limit) => SlowClient::Body(limit).into(),
    }
}

fn reset_cause(error: hyper::Error) -> ResetCause {
    if let Some(NoHead(limit)) = causes::find(&error) {
        ResetCause::BeforeHead(limit)
    } else if error.is_parse() {
        ResetCause::Invalid(error)
    } else if error.is_incomplete_message() {
        ResetCause::Closed(error)
    } else {
        ResetCause::Broke(error)
    }
}

/// Who was asked.
pub(super) fn peer(destination: &Destination) -> Peer {
    match destination {
        Destination::Instance { .. } => Peer::Function,
        Destination::Owner(_) => Peer::Owner,
    }
}

fn body_break(error: &hyper::Error) -> Option<Break> {
    let mut cause = error.source();
    while let Some(error) = cause {
        match error.downcast_ref() {
            Some(RequestBodyError::TooLarge { .. }) => return Some(Break::TooLarge),
            Some(RequestBodyError::Client(_)) => return Some(Break::Client),
            None => cause = error.source(),
        }
    }
    None
}
