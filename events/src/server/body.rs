//! Bodies of the gateway's requests, within a bound.

use bytes::Bytes;
use http::{StatusCode, header, request::Parts};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::text;
use crate::problem::Problem;

/// Bytes of a body that are read although there are too many to be kept.
const MOST_UNKEPT: usize = 16 * 1024 * 1024;

/// The body, of at most so many bytes. One that is too large is read to its end all the same, within a bound: who still
/// sends may not hear an answer.
pub(super) async fn read(
    parts: &Parts,
    mut body: Incoming,
    most: usize,
    too_large: impl Fn() -> Problem,
) -> Result<Bytes, Problem> {
    let length = text(&parts.headers, header::CONTENT_LENGTH.as_str());
    let length = length.and_then(|length| length.parse::<usize>().ok());
    let bound = most.saturating_add(MOST_UNKEPT);
    if length.is_some_and(|length| length > bound) {
        return Err(too_large());
    }
    let (mut kept, mut read) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let broke_off =
            |_| Problem::new(StatusCode::BAD_REQUEST, "BadRequest", "the body broke off");
        let Ok(data) = frame.map_err(broke_off)?.into_data() else {
            continue;
        };
        read = read.saturating_add(data.len());
        if read > bound {
            return Err(too_large());
        }
        if read > most {
            kept = Vec::new();
        } else {
            kept.extend_from_slice(&data);
        }
    }
    if read > most {
        Err(too_large())
    } else {
        Ok(kept.into())
    }
}

/// The answer to a body of more bytes than that.
pub(super) fn too_large(what: &str, most: usize, otherwise: &str) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "PayloadTooLarge",
        format!(
            "the body has more than {most} bytes, which is the most of a {what} that is kept; put it elsewhere and send \
             where it is{otherwise}"
        ),
    )
}
