//! The function's answer becomes the gateway's.

use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;

use super::{attempt::Answer, failures};
use crate::{
    failure::{Failure, Reset, ResetCause},
    proxy::{
        access::Record,
        client::Client,
        context::ProxyContext,
        destination::Destination,
        header_scan::HeaderScan,
        headers::{self, Hop},
        ids::REQUEST_ID,
        respond::{REASON, Requester, refuse},
        response_body::ResponseBody,
        timing::SERVER_TIMING,
        tunnel::Tunnel,
    },
    upstream::Link,
};

/// Who gets the answer, and what that one has asked of the connection.
pub(super) struct Finish<'a> {
    pub(super) client: &'a Client,
    pub(super) hop: &'a Hop,
    pub(super) upgrade: Option<OnUpgrade>,
    pub(super) requester: &'a Requester,
}

/// Passes the answer on; its body, or the tunnel that it opens, keeps what the exchange holds until its end.
pub(super) fn finish(
    context: &ProxyContext,
    answer: Answer,
    finish: Finish<'_>,
    mut record: Record,
) -> Response<ResponseBody> {
    let Finish {
        client,
        hop,
        upgrade,
        requester,
    } = finish;
    let Answer {
        response,
        link,
        deadlines,
        destination,
    } = answer;
    let peer = failures::peer(&destination);
    let reset = |cause| Failure::from(Reset { peer, cause });
    let (mut parts, body) = response.into_parts();
    let scan = HeaderScan::of(&parts.headers);
    if scan.foreign_coding {
        return refuse(&reset(ResetCause::ForeignCoding), requester, record);
    }
    let granted = headers::strip_hop(&mut parts.headers, parts.version, &scan);
    // The server knows what it speaks.
    parts.version = http::Version::default();
    if let Destination::Instance { .. } = destination {
        if scan.reason {
            // It is the gateway's word; a function may pass on what another one was refused with.
            parts.headers.remove(REASON);
        }
        parts.headers.insert(REQUEST_ID, requester.id.clone());
        parts.headers.append(SERVER_TIMING, record.timing.header());
    }
    record.answered(parts.status.as_u16());
    if parts.status != StatusCode::SWITCHING_PROTOCOLS {
        let streams = client.streams();
        let body = ResponseBody::exchange(body, link, deadlines, destination, record, streams);
        return Response::from_parts(parts, body);
    }
    let (Link::H1(link), Some(client)) = (link, upgrade) else {
        return refuse(&reset(ResetCause::Switched), requester, record);
    };
    let protocol = Hop {
        upgrade: granted.upgrade.or_else(|| hop.upgrade.clone()),
        trailers: false,
    };
    headers::restore_hop(&mut parts.headers, &protocol);
    let tunnel = Tunnel::new(client, *link, destination, record);
    context.tunnels.spawn(tunnel.run(context.abort.clone()));
    Response::from_parts(parts, ResponseBody::empty())
}
