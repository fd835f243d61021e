//! A routed request on its way to an instance, with the tries that takes.
//!
//! A request is sent again only while no byte of it can have reached the function: when no
//! connection could be opened, or when a kept one turns out closed and hands the request back.
//!
//! A request for a function that another gateway keeps goes there instead of to an instance; what
//! comes back is that gateway's answer, which passes as it is.

mod failures;
mod prepare;
mod tries;

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
            permit::{Slot, Visit},
        },
    },
    cluster::peers::Sender,
    failure::Failure,
    proxy::{
        access::Record,
        admit::{Admission, admit},
        caller::Caller,
        client::Client,
        context::Gate,
        destination::Site,
        header_scan::Survey,
        headers::{self, Hop},
        ids::REQUEST_ID,
        respond::{Asker, refuse},
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
use prepare::Target;
use tries::Tries;

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
    pub(crate) survey: Survey,
    /// What it wants of its connection.
    pub(crate) hop: Hop,
    /// Its head.
    pub(crate) parts: Parts,
    /// Its body.
    pub(crate) body: Incoming,
    /// Who gets the answer.
    pub(crate) asker: Asker,
    /// Who sent it.
    pub(crate) caller: Caller,
}

/// What the tries of one request have in common.
struct Errand<'a> {
    client: &'a Client,
    grpc: bool,
    function: &'a Arc<Function>,
    target: &'a Target,
    hop: &'a Hop,
    caller: &'a Caller,
}

/// An instance's answer, and all that has to live as long as its body.
struct Answer {
    response: Response<Incoming>,
    link: Link,
    deadlines: Deadlines,
    site: Site,
}

// === impl Errand ===

impl Errand<'_> {
    /// How long the peers of an exchange with a function of this protocol may take.
    fn patience(&self, gate: &Gate, protocol: Protocol) -> Patience {
        let mut patience = gate.limits.patience;
        // Calls of gRPC may be streams in which either side speaks when it has something to say.
        if self.grpc && protocol == Protocol::H2c {
            patience.body = Duration::ZERO;
        }
        patience
    }
}

/// Gets the response of the function, or answers in its place.
pub(super) async fn forward(
    gate: &Gate,
    client: &Client,
    call: Call,
    mut record: Record,
) -> Response<ResponseBody> {
    let mut parts = call.parts;
    let (survey, hop) = (&call.survey, call.hop);
    if survey.expect {
        headers::strip_expect(&mut parts.headers);
    }
    if call.caller.sender != Sender::Gateway {
        let prefix = parts.uri.path().get(..call.strip);
        let prefix = prefix.filter(|prefix| !prefix.is_empty());
        client.add_forwarded(&mut parts.headers, survey, &call.host, prefix);
    }
    let upgrade = hop.upgrade.as_ref().and_then(|_| parts.extensions.remove());
    let target = match Target::of(call.host, &parts.uri, call.strip) {
        Ok(target) => target,
        Err(failure) => return refuse(&failure, &call.asker, record),
    };
    if survey.cookies {
        prepare::join_cookies(&mut parts.headers);
    }
    let errand = Errand {
        client,
        grpc: call.asker.grpc,
        function: &call.function,
        target: &target,
        hop: &hop,
        caller: &call.caller,
    };
    match exchange(gate, &errand, parts, call.body, &mut record).await {
        Ok(answer) => finish(gate, client, answer, &hop, upgrade, &call.asker, record),
        Err(failure) => refuse(&failure, &call.asker, record),
    }
}

/// Sends the request until an instance, or the function's keeper, has taken it, and waits for the head
/// of the answer.
async fn exchange(
    gate: &Gate,
    errand: &Errand<'_>,
    parts: Parts,
    body: Incoming,
    record: &mut Record,
) -> Result<Answer, Failure> {
    let limit = gate.limits.body_bytes;
    let mut body = Some(body);
    let mut pending: Option<(Request<RequestBody>, Option<Arc<Meter>>)> = None;
    let mut parts = Some(parts);
    let mut tries = Tries::begin();
    loop {
        let arrived = record.timing.arrived;
        let route = errand.function.route(arrived, &gate.dismiss);
        let revision = errand.client.attend(route).await?;
        let Some(site) = site(gate, errand, &revision, &tries, record).await? else {
            tries.moved().await?;
            continue;
        };
        let endpoint = site.endpoint();
        let (mut link, reused) = match connect(endpoint, &revision, &tries, record).await {
            Ok(connected) => connected,
            Err(error) => {
                let failure = failures::unreachable(endpoint.pod(), &error);
                suspect(gate, &revision, site);
                tries.pause_or(failure).await?;
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
                    .or_else(|| (!body.is_end_stream()).then(|| errand.client.meter()));
                let body = RequestBody::new(body, limit, meter.clone());
                (Request::from_parts(parts, body), meter)
            }
        };
        let protocol = revision.settings().protocol;
        prepare::aim(&mut request, protocol, errand.target, errand.hop);
        let mut deadlines = match &site {
            Site::Instance { .. } => {
                let patience = errand.patience(gate, protocol);
                Deadlines::begin(&revision.settings().timeouts, patience, meter.clone())
            }
            Site::Keeper(_) => {
                let namespace = errand.caller.namespace(gate);
                let mark = headers::mark(namespace.as_deref(), errand.caller.hops + 1);
                prepare::pass_on(&mut request, protocol, errand.target, mark);
                Deadlines::of_keeper(
                    &revision.settings().timeouts,
                    gate.limits.patience,
                    meter.clone(),
                )
            }
        };
        deadlines = deadlines.watching(errand.client.hang_up());
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
                    site,
                });
            }
            Err(SendError::Unsent(mut request)) => {
                if let Site::Keeper(_) = &site {
                    prepare::keep(&mut request);
                }
                pending = Some((*request, meter));
                if reused {
                    tries.distrust_idle();
                } else {
                    let failure = failures::closed_at_once(site.endpoint().pod());
                    drop(link);
                    suspect(gate, &revision, site);
                    tries.pause_or(failure).await?;
                }
            }
            Err(SendError::HeadTooLarge(bound)) => {
                return Err(failures::head_too_large(&site, bound));
            }
            Err(SendError::Broken(error)) => {
                return Err(failures::broken(&site, &error, meter.as_deref(), limit));
            }
            Err(SendError::Expired(expired)) => return Err(failures::expired(expired)),
        }
    }
}

/// Where the request goes: to the function's keeper, or to an instance as soon as one takes it; `None`
/// if the revision serves no more.
async fn site(
    gate: &Gate,
    errand: &Errand<'_>,
    revision: &Arc<Revision>,
    tries: &Tries,
    record: &mut Record,
) -> Result<Option<Site>, Failure> {
    if revision.settings().is_limited() {
        if let Some(keeper) = keeper(gate, errand, revision) {
            record.passed_on(keeper.pod());
            return Ok(Some(Site::Keeper(keeper)));
        }
        gate.ownership.ensure(revision).await;
    }
    let visit = Visit::new(revision.clone());
    let slot = wait(gate, errand.client, revision, tries, record).await?;
    Ok(slot.map(|slot| {
        record.assigned(&revision.key().name, slot.endpoint().pod());
        Site::Instance { slot, visit }
    }))
}

/// The other gateway that a request for a function with a hard limit goes to.
fn keeper(gate: &Gate, errand: &Errand<'_>, revision: &Revision) -> Option<Arc<Endpoint>> {
    let (function, leaving) = (errand.function.key(), gate.leaving.load(Ordering::Relaxed));
    let (caller, epoch) = (errand.caller, gate.peers.epoch());
    let by_view = |sender| {
        gate.peers
            .keeper(function, sender, caller.entrance, leaving)
    };
    // Who has taken the function over knows better than this gateway's view.
    let taker = || {
        let taker = revision.yielded_to(epoch)?;
        gate.peers.at(taker, caller.entrance)
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
fn suspect(gate: &Gate, revision: &Arc<Revision>, site: Site) {
    match &site {
        Site::Instance { slot, .. } => gate.waker.suspect(revision, slot.endpoint()),
        Site::Keeper(keeper) => gate.peers.suspect(keeper),
    }
}

/// Gets an instance; `None` if the revision serves no more.
async fn wait(
    gate: &Gate,
    client: &Client,
    revision: &Arc<Revision>,
    tries: &Tries,
    record: &mut Record,
) -> Result<Option<Slot>, Failure> {
    // The common case takes no look at the clock.
    if revision.queue.waiting() == 0
        && let Some(slot) = Revision::acquire(revision)
    {
        return Ok(Some(slot));
    }
    let served = revision.has_endpoints();
    let begun = Instant::now();
    let deadline = record.timing.arrived + revision.settings().timeouts.start;
    let again = tries.is_again();
    let admission = admit(revision, &gate.waker, &gate.dismiss, deadline, again);
    let admission = client.attend(admission).await;
    let waited = begun.elapsed();
    if served {
        record.timing.queue += waited;
    } else {
        record.timing.start += waited;
    }
    match admission? {
        Admission::Admitted(slot) => Ok(Some(slot)),
        Admission::Moved => Ok(None),
    }
}

/// A connection to the instance or the keeper, and whether it was used before.
async fn connect(
    endpoint: &Endpoint,
    revision: &Revision,
    tries: &Tries,
    record: &mut Record,
) -> Result<(Link, bool), crate::upstream::pool::ConnectError> {
    let protocol = revision.settings().protocol;
    if tries.trusts_idle()
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
    gate: &Gate,
    client: &Client,
    answer: Answer,
    hop: &Hop,
    upgrade: Option<OnUpgrade>,
    asker: &Asker,
    mut record: Record,
) -> Response<ResponseBody> {
    let Answer {
        response,
        link,
        deadlines,
        site,
    } = answer;
    let (mut parts, body) = response.into_parts();
    let survey = Survey::of(&parts.headers);
    if headers::has_foreign_coding(&parts.headers, &survey) {
        let detail = "the function's answer has a transfer coding other than chunked";
        return refuse(&Failure::FunctionReset(detail.into()), asker, record);
    }
    let granted = headers::strip_hop(&mut parts.headers, parts.version, &survey);
    // The server knows what it speaks.
    parts.version = http::Version::default();
    if let Site::Instance { .. } = site {
        parts.headers.insert(REQUEST_ID, asker.id.clone());
        parts.headers.append(SERVER_TIMING, record.timing.header());
    }
    record.answered(parts.status.as_u16());
    if parts.status != StatusCode::SWITCHING_PROTOCOLS {
        let body = ResponseBody::exchange(body, link, deadlines, site, record, client.streams());
        return Response::from_parts(parts, body);
    }
    let (Link::H1(link), Some(client)) = (link, upgrade) else {
        let detail = "the function switched protocols without being asked to";
        return refuse(&Failure::FunctionReset(detail.into()), asker, record);
    };
    let protocol = Hop {
        upgrade: granted.upgrade.or_else(|| hop.upgrade.clone()),
        trailers: false,
    };
    headers::restore_hop(&mut parts.headers, &protocol);
    let tunnel = Tunnel::new(client, *link, site, record);
    gate.tunnels.spawn(tunnel.run(gate.abort.clone()));
    Response::from_parts(parts, ResponseBody::empty())
}
