//! The last stage: a request on its way to an instance, with the attempts that takes.
//!
//! A request is sent again only while no byte of it can have reached the function: when no
//! connection could be opened, or when a kept one turns out closed and hands the request back.
//!
//! A request for a function that another gateway owns goes there instead of to an instance; what
//! comes back is that gateway's answer, which passes as it is.

mod admit;
mod attempt;
mod choose;
mod failures;
mod finish;
mod outgoing;
mod prepare;
mod retry;

use std::sync::Arc;

use http::{HeaderValue, Request, Response, request::Parts};
use http_body::Body;
use hyper::body::Incoming;

use crate::{
    backend::function::Function,
    cluster::peers::Sender,
    failure::Failure,
    proxy::{
        access::Record,
        caller::Caller,
        client::Client,
        context::ProxyContext,
        header_scan::HeaderScan,
        headers::{self, Hop},
        respond::{Requester, refuse},
        response_body::ResponseBody,
    },
    upstream::request_body::RequestBody,
};
use attempt::{Answer, Attempt};
use finish::{Finish, finish};
use outgoing::Outgoing;
use prepare::RequestTarget;
use retry::RetryState;

/// A request and where it goes.
pub(crate) struct Call {
    /// Its function.
    pub(crate) function: Arc<Function>,
    /// The host it asks for.
    pub(crate) host: HeaderValue,
    /// Bytes of the path that were only for finding the function.
    pub(crate) strip: usize,
    /// What its headers held when it came.
    pub(crate) scan: HeaderScan,
    /// What it wants of its connection.
    pub(crate) hop: Hop,
    /// Its head.
    pub(crate) parts: Parts,
    /// Its body.
    pub(crate) body: Incoming,
    /// Who gets the answer.
    pub(crate) requester: Requester,
    /// Who sent it.
    pub(crate) caller: Caller,
}

/// Gets the response of the function, or answers in its place.
///
/// # Cancel safety
///
/// Dropping the future gives up everything the request holds: its place in the queue, its instance,
/// its connection to the function.
pub(crate) async fn forward(
    context: &ProxyContext,
    client: &Client,
    call: Call,
    mut record: Record,
) -> Response<ResponseBody> {
    let Call {
        function,
        host,
        strip,
        scan,
        hop,
        mut parts,
        body,
        requester,
        caller,
    } = call;
    if scan.expect {
        headers::strip_expect(&mut parts.headers);
    }
    if caller.sender != Sender::Gateway {
        let prefix = parts.uri.path().get(..strip);
        let prefix = prefix.filter(|prefix| !prefix.is_empty());
        client.add_forwarded(&mut parts.headers, &scan, &host, prefix);
    }
    let upgrade = hop.upgrade.as_ref().and_then(|_| parts.extensions.remove());
    let target = match RequestTarget::of(host, &parts.uri, strip) {
        Ok(target) => target,
        Err(bad) => return refuse(&bad.into(), &requester, record),
    };
    if scan.cookies {
        prepare::join_cookies(&mut parts.headers);
    }
    // Which revision takes the request, and what it says of silence, is not known before it does.
    let meter = record
        .meter()
        .or_else(|| (!body.is_end_stream()).then(|| client.meter()));
    let body = RequestBody::new(body, context.limits.body_bytes, meter.clone());
    let request = Request::from_parts(parts, body);
    let outgoing = Outgoing {
        client,
        grpc: requester.grpc,
        function: &function,
        target: &target,
        hop: &hop,
        caller: &caller,
        meter: meter.as_ref(),
    };
    match exchange(context, &outgoing, request, &mut record).await {
        Ok(answer) => {
            let finished = Finish {
                client,
                hop: &hop,
                upgrade,
                requester: &requester,
            };
            finish(context, answer, finished, record)
        }
        Err(failure) => refuse(&failure, &requester, record),
    }
}

/// Sends the request until an instance, or the function's owner, has taken it, and waits for the head
/// of the answer.
async fn exchange(
    context: &ProxyContext,
    outgoing: &Outgoing<'_>,
    mut request: Request<RequestBody>,
    record: &mut Record,
) -> Result<Answer, Failure> {
    let mut retries = RetryState::begin();
    loop {
        match attempt::attempt(context, outgoing, request, &retries, record).await {
            Attempt::Responded(answer) => return Ok(answer),
            Attempt::Failed(failure) => return Err(failure),
            Attempt::Unsent(back, why) => {
                request = back;
                retries.after(why).await?;
            }
        }
    }
}
