//! Every way a call can fail, and the one place where it becomes a response
//! (RFC 9457, Problem Details for HTTP APIs).

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::body::Body;

/// Why there is no answer from the handler.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// The handler says so: its status and what it has to say to the caller.
    Handler(StatusCode, String),
    /// The handler's answer cannot be sent as it is.
    BadAnswer(String),
    /// The process that runs the handler ended.
    WorkerGone,
    /// The body is larger than allowed, in bytes.
    BodyTooLarge(usize),
    /// The body did not come, or not in time.
    BodyIncomplete,
    /// The body stalled.
    BodyStalled,
    /// The request's head is more than a program can be given.
    HeadTooLarge,
    /// The program could not be started.
    NotStarted,
    /// The program ended badly before it wrote anything.
    CommandFailed(String),
}

// === impl Failure ===

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::Handler(status, _) => *status,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyIncomplete => StatusCode::BAD_REQUEST,
            Self::BodyStalled => StatusCode::REQUEST_TIMEOUT,
            Self::BadAnswer(_) | Self::WorkerGone | Self::NotStarted | Self::CommandFailed(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// What the caller is told. Nothing of the function's inside.
    fn detail(&self) -> String {
        match self {
            Self::Handler(_, detail) => detail.clone(),
            Self::BadAnswer(_) => "the function's answer is no valid HTTP; its log says why".into(),
            Self::WorkerGone => "the function's process ended; its log may say why".into(),
            Self::BodyTooLarge(most) => {
                format!("the body is larger than {most} bytes, the most this function takes")
            }
            Self::BodyIncomplete => "the body is incomplete".into(),
            Self::BodyStalled => "the body did not come in time".into(),
            Self::HeadTooLarge => {
                "the header fields are more than a program can be given as its environment".into()
            }
            Self::NotStarted => {
                "the function's program could not be started; its log says why".into()
            }
            Self::CommandFailed(how) => {
                format!("the function's program {how}; its log may say why")
            }
        }
    }

    /// The response to the caller.
    pub(crate) fn response(&self) -> Response<Body> {
        let status = self.status();
        let problem = json!({
            "status": status.as_u16(),
            "title": status.canonical_reason().unwrap_or("Error"),
            "detail": self.detail(),
        });
        let mut response = Response::new(Body::whole(Bytes::from(problem.to_string())));
        *response.status_mut() = status;
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if *self == Self::BodyStalled || matches!(self, Self::BodyTooLarge(_)) {
            // What is left of the body is not read.
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
