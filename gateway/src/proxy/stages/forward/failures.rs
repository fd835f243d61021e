//! What went wrong between the gateway and an instance, in words.

use std::error::Error;

use crate::{
    causes,
    failure::Failure,
    proxy::destination::Destination,
    stall::Stalled,
    upstream::{
        HeadBound,
        deadlines::Expired,
        meter::{Break, Meter},
        pool::ConnectError,
        request_body::RequestBodyError,
        wire::NoHead,
    },
};

/// The instance did not take a connection.
pub(super) fn unreachable(pod: &str, error: &ConnectError) -> Failure {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    Failure::FunctionUnreachable(format!("pod {pod}: {error}: {cause}").into())
}

/// The instance took a connection and closed it before the request.
pub(super) fn closed_at_once(pod: &str) -> Failure {
    let detail = format!("pod {pod} closed the connection before taking a request");
    Failure::FunctionUnreachable(detail.into())
}

/// A clock ran out before the head of the response.
pub(super) fn expired(expired: Expired) -> Failure {
    match expired {
        Expired::FirstByte => Failure::FirstByteTimeout,
        Expired::Request => Failure::RequestTimeout,
        Expired::Idle => Failure::IdleTimeout,
        Expired::Client(limit) => {
            let seconds = limit.as_secs_f64();
            let detail = format!("nothing of the request's body came for {seconds} s");
            Failure::ClientTimeout(detail.into())
        }
    }
}

/// The exchange broke off before the head of the response; `limit` is that of the request's body.
pub(super) fn broken(
    destination: &Destination,
    error: &hyper::Error,
    meter: Option<&Meter>,
    limit: u64,
) -> Failure {
    // An HTTP/2 stream does not tell why its request's body ended; the meter does.
    match meter.and_then(Meter::broken).or_else(|| body_break(error)) {
        Some(Break::TooLarge) => return Failure::PayloadTooLarge { limit },
        Some(Break::Client) => {
            return Failure::BadRequest("the body of the request broke off".into());
        }
        None => {}
    }
    if let Some(Stalled(limit)) = causes::find(error) {
        return Failure::WriteTimeout(limit);
    }
    let who = who(destination);
    if let Some(NoHead(limit)) = causes::find(error) {
        let detail = format!("{who} sent more than {limit} bytes before the head of its answer");
        return Failure::FunctionReset(detail.into());
    }
    let detail = if error.is_parse() {
        "gave an answer that is not valid HTTP"
    } else if error.is_incomplete_message() {
        "closed the connection without an answer"
    } else {
        "broke the connection without an answer"
    };
    let cause = error.source().map(|cause| format!(" ({cause})"));
    Failure::FunctionReset(format!("{who} {detail}{}", cause.unwrap_or_default()).into())
}

/// The head of the answer is larger than it may be.
pub(super) fn head_too_large(destination: &Destination, bound: HeadBound) -> Failure {
    let (limit, of) = match bound {
        HeadBound::Fields(limit) => (limit, "header fields"),
        HeadBound::Bytes(limit) => (limit, "bytes of head"),
    };
    Failure::FunctionReset(
        format!(
            "{} gave an answer with more than {limit} {of}",
            who(destination)
        )
        .into(),
    )
}

fn who(destination: &Destination) -> &'static str {
    match destination {
        Destination::Instance { .. } => "the function",
        Destination::Owner(_) => "the gateway that keeps the function",
    }
}

fn body_break(error: &hyper::Error) -> Option<Break> {
    let mut cause = error.source();
    while let Some(error) = cause {
        match error.downcast_ref() {
            Some(RequestBodyError::TooLarge { .. }) => return Some(Break::TooLarge),
            Some(RequestBodyError::Client(_)) => return Some(Break::Client),
            _ => cause = error.source(),
        }
    }
    None
}
