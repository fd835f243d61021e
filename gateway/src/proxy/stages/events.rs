//! Questions to the events program, and its answers, which are for the caller as they are.

use bytes::Bytes;
use fermata_crds::names::{
    DELIVERY_HEADER, ENTRANCE_HEADER, FUNCTION_UID_HEADER, PUBLISHER_HEADER, TRIGGER_HEADER,
};
use http::{
    HeaderValue, Request, Response, StatusCode, Uri,
    header::{CONNECTION, TRANSFER_ENCODING},
    request::Parts,
    uri::Scheme,
};
use hyper::body::Incoming;

use crate::{
    cluster::peers::Entrance,
    failure::{BadRequest, Failure, SlowClient},
    proxy::{
        access::Record,
        client::Client,
        context::ProxyContext,
        events::{EventsBody, EventsClient, EventsError, PATIENCE},
        ids::REQUEST_ID,
        respond::{Requester, refuse},
        response_body::ResponseBody,
    },
    upstream::{
        meter::{Break, Meter},
        request_body::RequestBody,
    },
};

/// What the events program is asked.
#[derive(Debug)]
pub(super) struct Question {
    /// Under which path.
    pub(super) path: String,
    /// Headers that are the gateway's own word.
    pub(super) own: Vec<(&'static str, String)>,
    /// Where the request came in.
    pub(super) entrance: Entrance,
    /// The request's head.
    pub(super) parts: Parts,
    /// What stands before the request's body.
    pub(super) before: Option<Bytes>,
}

pub(super) async fn ask(
    context: &ProxyContext,
    client: &Client,
    question: Question,
    body: Incoming,
) -> Result<Response<Incoming>, Failure> {
    let Question {
        path,
        own,
        entrance,
        mut parts,
        before,
    } = question;
    let events = context.events.as_ref().ok_or(Failure::EventsOff)?;
    parts.uri = uri(events, &path)?;
    parts.version = http::Version::HTTP_11;
    for name in [
        FUNCTION_UID_HEADER,
        DELIVERY_HEADER,
        ENTRANCE_HEADER,
        PUBLISHER_HEADER,
        TRIGGER_HEADER,
    ] {
        parts.headers.remove(name);
    }
    // hyper says itself whom it asks.
    parts.headers.remove(http::header::HOST);
    for (name, value) in own {
        let value = HeaderValue::try_from(value).map_err(|_| BadRequest::Path)?;
        parts.headers.insert(name, value);
    }
    let entrance = match entrance {
        Entrance::Public => "public",
        Entrance::Internal => "internal",
    };
    let entrance = HeaderValue::from_static(entrance);
    parts.headers.insert(ENTRANCE_HEADER, entrance);
    let meter = client.meter();
    let body = RequestBody::new(body, context.limits.body_bytes, Some(meter.clone()));
    let body = EventsBody::new(before, body);
    let asked = client.while_connected(events.ask(Request::from_parts(parts, body)));
    asked.await.map_err(|error| failure(context, error, &meter))
}

fn uri(events: &EventsClient, path: &str) -> Result<Uri, BadRequest> {
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(events.authority.clone());
    uri.path_and_query = Some(path.parse().map_err(|_| BadRequest::Path)?);
    Uri::from_parts(uri).map_err(|_| BadRequest::Path)
}

/// Whose fault it is that a call was not handed over.
fn failure(context: &ProxyContext, error: EventsError, meter: &Meter) -> Failure {
    match meter.broken() {
        Some(Break::TooLarge) => Failure::PayloadTooLarge {
            limit: context.limits.body_bytes,
        },
        Some(Break::Client) => BadRequest::Body.into(),
        None if matches!(error, EventsError::TimedOut) && !meter.is_ended() => {
            SlowClient::Body(PATIENCE).into()
        }
        None => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "what was to be kept is not");
            Failure::EventsUnreachable
        }
    }
}

/// What the events program says is for the caller as it is.
pub(super) fn answer(
    asked: Result<Response<Incoming>, Failure>,
    requester: &Requester,
    mut record: Record,
) -> Response<ResponseBody> {
    match asked {
        Err(failure) => refuse(&failure, requester, record),
        Ok(response) => {
            let (mut parts, body) = response.into_parts();
            record.answered(parts.status.as_u16());
            for name in [CONNECTION, TRANSFER_ENCODING] {
                parts.headers.remove(name);
            }
            parts.headers.insert(REQUEST_ID, requester.id.clone());
            let bare = requester.head_only || parts.status == StatusCode::NO_CONTENT;
            let body = if bare {
                record.complete();
                ResponseBody::empty()
            } else {
                ResponseBody::events(body, record)
            };
            Response::from_parts(parts, body)
        }
    }
}
