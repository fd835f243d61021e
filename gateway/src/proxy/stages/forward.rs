//! A routed request on its way to an instance, with the tries that takes.
//!
//! A request is sent again only while no byte of it can have reached the function: when no
//! connection could be opened, or when a kept one turns out closed and hands the request back.
//!
//! A request for a function that another gateway keeps goes there instead of to an instance; what
//! comes back is that gateway's answer, which passes as it is.

mod failures;
mod prepare;
mod retry;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use fermata_crds::Protocol;
use http::{HeaderValue, Request, Response, StatusCode, request::Parts};
use http_body::Body;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::time::Instant;

use crate::{
    backend::{
        endpoint::Endpoint,
        function::Function,
        revision::{
            Revision,
            permit::{ActiveRequest, Permit},
        },
    },
    cluster::peers::Sender,
    failure::Failure,
    proxy::{
        access::Record,
        admit::{Admission, admit},
        caller::Caller,
        client::Client,
        context::ProxyContext,
        destination::Destination,
        header_scan::HeaderScan,
        headers::{self, Hop},
        ids::REQUEST_ID,
        respond::{Requester, refuse},
        response_body::ResponseBody,
        timing::SERVER_TIMING,
        tunnel::Tunnel,
    },
    upstream::{
        Link, SendError,
        deadlines::{Deadlines, Patience},
        meter::Meter,
        request_body::RequestBody,
    },
};
use prepare::RequestTarget;
use retry::RetryState;

/// How often a request is passed on at most.
const MOST_HOPS: u32 = 4;

/// A request and where it goes.
pub(super) struct Call {
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

/// What the tries of one request have in common.
struct Exchange<'a> {
    client: &'a Client,
    grpc: bool,
    function: &'a Arc<Function>,
    target: &'a RequestTarget,
    hop: &'a Hop,
    caller: &'a Caller,
}

/// An instance's answer, and all that has to live as long as its body.
struct Answer {
    response: Response<Incoming>,
    link: Link,
    deadlines: Deadlines,
    destination: Destination,
}

// === impl Exchange ===

impl Exchange<'_> {
    /// How long the peers of an exchange with a function of this protocol may take.
    fn patience(&self, context: &ProxyContext, protocol: Protocol) -> Patience {
        let mut patience = context.limits.patience;
        // Calls of gRPC may be streams in which either side speaks when it has something to say.
        if self.grpc && protocol == Protocol::H2c {
            patience.body = Duration::ZERO;
        }
        patience
    }
}

/// Gets the response of the function, or answers in its place.
pub(super) async fn forward(
    context: &ProxyContext,
    client: &Client,
    call: Call,
    mut record: Record,
) -> Response<ResponseBody> {
    let mut parts = call.parts;
    let (scan, hop) = (&call.scan, call.hop);
    if scan.expect {
        headers::strip_expect(&mut parts.headers);
    }
    if call.caller.sender != Sender::Gateway {
        let prefix = parts.uri.path().get(..call.strip);
        let prefix = prefix.filter(|prefix| !prefix.is_empty());
        client.add_forwarded(&mut parts.headers, scan, &call.host, prefix);
    }
    let upgrade = hop.upgrade.as_ref().and_then(|_| parts.extensions.remove());
    let target = match RequestTarget::of(call.host, &parts.uri, call.strip) {
        Ok(target) => target,
        Err(failure) => return refuse(&failure, &call.requester, record),
    };
    if scan.cookies {
        prepare::join_cookies(&mut parts.headers);
    }
    let exchange = Exchange {
        client,
        grpc: call.requester.grpc,
        function: &call.function,
        target: &target,
        hop: &hop,
        caller: &call.caller,
    };
    match send(context, &exchange, parts, call.body, &mut record).await {
        Ok(answer) => finish(
            context,
            client,
            answer,
            &hop,
            upgrade,
            &call.requester,
            record,
        ),
        Err(failure) => refuse(&failure, &call.requester, record),
    }
}

/// Sends the request until an instance, or the function's owner, has taken it, and waits for the head
/// of the answer.
async fn send(
    context: &ProxyContext,
    exchange: &Exchange<'_>,
    parts: Parts,
    body: Incoming,
    record: &mut Record,
) -> Result<Answer, Failure> {
    let limit = context.limits.body_bytes;
    let mut body = Some(body);
    let mut pending: Option<(Request<RequestBody>, Option<Arc<Meter>>)> = None;
    let mut parts = Some(parts);
    let mut retries = RetryState::begin();
    loop {
        let arrived = record.timing.arrived;
        let route = exchange.function.route(arrived, &context.dismiss);
        let revision = exchange.client.while_connected(route).await?;
        let Some(destination) = destination(context, exchange, &revision, &retries, record).await?
        else {
            retries.moved().await?;
            continue;
        };
        let endpoint = destination.endpoint();
        let (mut link, reused) = match connect(endpoint, &revision, &retries, record).await {
            Ok(connected) => connected,
            Err(error) => {
                let failure = failures::unreachable(endpoint.pod(), &error);
                eject(context, &revision, destination);
                retries.pause_or(failure).await?;
                continue;
            }
        };
        let (mut request, meter) = match pending.take() {
            Some(pending) => pending,
            None => {
                let (Some(parts), Some(body)) = (parts.take(), body.take()) else {
                    return Err(Failure::FunctionReset("the request was lost".into()));
                };
                // Which revision takes the request, and what it says of silence, is not known yet.
                let meter = record
                    .meter()
                    .or_else(|| (!body.is_end_stream()).then(|| exchange.client.meter()));
                let body = RequestBody::new(body, limit, meter.clone());
                (Request::from_parts(parts, body), meter)
            }
        };
        let protocol = revision.settings().protocol;
        prepare::aim(&mut request, protocol, exchange.target, exchange.hop);
        let mut deadlines = match &destination {
            Destination::Instance { .. } => {
                let patience = exchange.patience(context, protocol);
                Deadlines::begin(&revision.settings().timeouts, patience, meter.clone())
            }
            Destination::Owner(_) => {
                let namespace = exchange.caller.namespace(context);
                let mark = headers::mark(namespace.as_deref(), exchange.caller.hops + 1);
                prepare::pass_on(&mut request, protocol, exchange.target, mark);
                Deadlines::for_owner(
                    &revision.settings().timeouts,
                    context.limits.patience,
                    meter.clone(),
                )
            }
        };
        deadlines = deadlines.watching(exchange.client.hang_up());
        let sent = Instant::now();
        let outcome = link.send(request, &mut deadlines).await;
        record.timing.function = sent.elapsed();
        match outcome {
            Ok(response) => {
                deadlines.head_arrived();
                return Ok(Answer {
                    response,
                    link,
                    deadlines,
                    destination,
                });
            }
            Err(SendError::Unsent(mut request)) => {
                if let Destination::Owner(_) = &destination {
                    prepare::keep(&mut request);
                }
                pending = Some((*request, meter));
                if reused {
                    retries.distrust_idle();
                } else {
                    let failure = failures::closed_at_once(destination.endpoint().pod());
                    drop(link);
                    eject(context, &revision, destination);
                    retries.pause_or(failure).await?;
                }
            }
            Err(SendError::HeadTooLarge(bound)) => {
                return Err(failures::head_too_large(&destination, bound));
            }
            Err(SendError::Broken(error)) => {
                return Err(failures::broken(
                    &destination,
                    &error,
                    meter.as_deref(),
                    limit,
                ));
            }
            Err(SendError::Expired(expired)) => return Err(failures::expired(expired)),
        }
    }
}

/// Where the request goes: to the function's owner, or to an instance as soon as one takes it; `None`
/// if the revision serves no more.
async fn destination(
    context: &ProxyContext,
    exchange: &Exchange<'_>,
    revision: &Arc<Revision>,
    retries: &RetryState,
    record: &mut Record,
) -> Result<Option<Destination>, Failure> {
    if revision.settings().is_limited() {
        if let Some(owner) = owner(context, exchange, revision) {
            record.passed_on(owner.pod());
            return Ok(Some(Destination::Owner(owner)));
        }
        context.ownership.ensure(revision).await;
    }
    let active = ActiveRequest::new(revision.clone());
    let permit = wait(context, exchange.client, revision, retries, record).await?;
    Ok(permit.map(|permit| {
        record.assigned(&revision.key().name, permit.endpoint().pod());
        Destination::Instance { permit, active }
    }))
}

/// The other gateway that a request for a function with a hard limit goes to.
fn owner(
    context: &ProxyContext,
    exchange: &Exchange<'_>,
    revision: &Revision,
) -> Option<Arc<Endpoint>> {
    let (function, leaving) = (
        exchange.function.key(),
        context.leaving.load(Ordering::Relaxed),
    );
    let (caller, epoch) = (exchange.caller, context.peers.epoch());
    let by_view = |sender| {
        context
            .peers
            .owner(function, sender, caller.entrance, leaving)
    };
    // Who has taken the function over knows better than this gateway's view.
    let taker = || {
        let taker = revision.yielded_to(epoch)?;
        context.peers.at(taker, caller.entrance)
    };
    match caller.sender {
        Sender::Client => taker().or_else(|| by_view(Sender::Client)),
        Sender::Unknown => by_view(Sender::Unknown),
        // It goes on only while the function changes hands, and not for ever.
        Sender::Gateway if revision.is_held(epoch) || caller.hops >= MOST_HOPS => None,
        Sender::Gateway => taker().or_else(|| by_view(Sender::Client)),
    }
}

/// It did not take the connection: others go first for a moment.
fn eject(context: &ProxyContext, revision: &Arc<Revision>, destination: Destination) {
    match &destination {
        Destination::Instance { permit, .. } => {
            context.activator.eject(revision, permit.endpoint())
        }
        Destination::Owner(owner) => context.peers.eject(owner),
    }
}

/// Gets an instance; `None` if the revision serves no more.
async fn wait(
    context: &ProxyContext,
    client: &Client,
    revision: &Arc<Revision>,
    retries: &RetryState,
    record: &mut Record,
) -> Result<Option<Permit>, Failure> {
    // The common case takes no look at the clock.
    if revision.queue.waiting() == 0
        && let Some(permit) = Revision::acquire(revision)
    {
        return Ok(Some(permit));
    }
    let served = revision.has_endpoints();
    let begun = Instant::now();
    let deadline = record.timing.arrived + revision.settings().timeouts.start;
    let again = retries.is_again();
    let admission = admit(
        revision,
        &context.activator,
        &context.dismiss,
        deadline,
        again,
    );
    let admission = client.while_connected(admission).await;
    let waited = begun.elapsed();
    if served {
        record.timing.queue += waited;
    } else {
        record.timing.start += waited;
    }
    match admission? {
        Admission::Admitted(permit) => Ok(Some(permit)),
        Admission::Moved => Ok(None),
    }
}

/// A connection to the instance or the owner, and whether it was used before.
async fn connect(
    endpoint: &Endpoint,
    revision: &Revision,
    retries: &RetryState,
    record: &mut Record,
) -> Result<(Link, bool), crate::upstream::pool::ConnectError> {
    let protocol = revision.settings().protocol;
    if retries.trusts_idle()
        && let Some(link) = endpoint.pool.take_idle(protocol)
    {
        return Ok((link, true));
    }
    let begun = Instant::now();
    let opened = endpoint.pool.open(endpoint.address(), protocol).await;
    record.timing.connect += begun.elapsed();
    opened.map(|link| (link, false))
}

/// Makes the function's answer the gateway's.
fn finish(
    context: &ProxyContext,
    client: &Client,
    answer: Answer,
    hop: &Hop,
    upgrade: Option<OnUpgrade>,
    requester: &Requester,
    mut record: Record,
) -> Response<ResponseBody> {
    let Answer {
        response,
        link,
        deadlines,
        destination,
    } = answer;
    let (mut parts, body) = response.into_parts();
    let scan = HeaderScan::of(&parts.headers);
    if headers::has_foreign_coding(&parts.headers, &scan) {
        let detail = "the function's answer has a transfer coding other than chunked";
        return refuse(&Failure::FunctionReset(detail.into()), requester, record);
    }
    let granted = headers::strip_hop(&mut parts.headers, parts.version, &scan);
    // The server knows what it speaks.
    parts.version = http::Version::default();
    if let Destination::Instance { .. } = destination {
        parts.headers.insert(REQUEST_ID, requester.id.clone());
        parts.headers.append(SERVER_TIMING, record.timing.header());
    }
    record.answered(parts.status.as_u16());
    if parts.status != StatusCode::SWITCHING_PROTOCOLS {
        let body =
            ResponseBody::exchange(body, link, deadlines, destination, record, client.streams());
        return Response::from_parts(parts, body);
    }
    let (Link::H1(link), Some(client)) = (link, upgrade) else {
        let detail = "the function switched protocols without being asked to";
        return refuse(&Failure::FunctionReset(detail.into()), requester, record);
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
