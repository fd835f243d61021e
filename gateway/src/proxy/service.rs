//! One request, from its head to its response's.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, HOST},
    request::Parts,
};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::{
    backend::{function::Function, registry::Routes},
    cluster::peers::{Entrance, Sender},
    failure::Failure,
    proxy::{
        access::Record,
        caller::Caller,
        client::Client,
        context::{MOST_FIELDS, ProxyContext},
        forward,
        header_scan::HeaderScan,
        headers::{self, PASSED_ON},
        ids,
        respond::{REASON, Requester, refuse},
        response_body::ResponseBody,
    },
};

/// How much later than another gateway this one may hear of a function.
const LATE_NEWS: Duration = Duration::from_secs(5);

/// Between two looks for it.
const NEWS_PAUSE: Duration = Duration::from_millis(10);

/// GatheredStats a request, by its function or in its place. When the gateway is about to stop, the answer
/// asks the client to close the connection: the only way of HTTP/1.1 that costs no request.
///
/// # Cancel safety
///
/// Dropping the future gives up everything the request holds: its place in the queue, its instance,
/// its connection to the function.
pub(crate) async fn serve(
    context: &ProxyContext,
    client: &Client,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let http1 = request.version() <= Version::HTTP_11;
    let mut response = answer(context, client, request).await;
    let leaving = context.leaving.load(Ordering::Relaxed);
    if http1 && (leaving || is_astray(&response)) {
        close(&mut response);
    }
    response
}

/// Says that the connection ends with this response, unless it becomes one of another protocol.
pub(crate) fn close(response: &mut Response<ResponseBody>) {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
}

/// Whether the gateway answers because the request did not come in time or could not be understood: what
/// comes after it is not to be waited for, and may not be the next one.
fn is_astray(response: &Response<ResponseBody>) -> bool {
    let astray = matches!(
        response.status(),
        StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT | StatusCode::NOT_IMPLEMENTED
    );
    astray && response.headers().contains_key(REASON)
}

async fn answer(
    context: &ProxyContext,
    client: &Client,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let mut record = Record::begin(context.metrics.clone());
    let (mut parts, body) = request.into_parts();
    // Looked at before the request's own name is added to it.
    let scan = HeaderScan::of(&parts.headers);
    let checked = check(context, &parts, &scan);
    // First of all, so that what a client says of its connection touches nothing that is added.
    let hop = headers::strip_hop(&mut parts.headers, parts.version, &scan);
    let mark = scan.passed_on.then(|| parts.headers.remove(PASSED_ON));
    let caller = Caller::of(context, client, mark.flatten().as_ref());
    let id = ids::identify(&mut parts.headers, &scan);
    let requester = Requester::of(&parts.method, &parts.headers, &scan, id)
        .with_details(context.limits.error_details);
    let host = match checked {
        Ok(host) => host,
        Err(failure) => return refuse(&failure, &requester, record),
    };
    if context.limits.access_log {
        record.log(&parts.method, &host, parts.uri.path(), &requester.id);
    }
    let mut routed = route(context, &caller, &host, &parts);
    if routed.is_none() && caller.sender == Sender::Gateway {
        routed = route_later(context, &caller, &host, &parts).await;
    }
    match routed {
        None => refuse(&Failure::NoSuchFunction, &requester, record),
        Some((function, strip)) => {
            record.routed(function.clone());
            let call = forward::Call {
                function,
                host,
                strip,
                scan,
                hop,
                parts,
                body,
                requester,
                caller,
            };
            forward::forward(context, client, call, record).await
        }
    }
}

/// Refuses what makes no sense or is too large; returns the host that is asked for.
fn check(context: &ProxyContext, parts: &Parts, scan: &HeaderScan) -> Result<HeaderValue, Failure> {
    let limits = &context.limits;
    let target = parts
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if target + scan.bytes > limits.header_bytes {
        return Err(Failure::HeadersTooLarge {
            limit: limits.header_bytes,
        });
    }
    if scan.fields > MOST_FIELDS {
        return Err(Failure::TooManyHeaders { limit: MOST_FIELDS });
    }
    if headers::has_foreign_coding(&parts.headers, scan) {
        return Err(Failure::ForeignCoding);
    }
    if parts.method == Method::CONNECT {
        return Err(Failure::BadRequest(
            "CONNECT is for proxies, which this is not".into(),
        ));
    }
    if limits.body_bytes > 0 {
        let length = parts.headers.get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > limits.body_bytes) {
            return Err(Failure::PayloadTooLarge {
                limit: limits.body_bytes,
            });
        }
    }
    host(parts)
}

/// The host that is asked for: of the target if it has one (RFC 9112, section 3.2.2), else of the
/// one `Host` header.
fn host(parts: &Parts) -> Result<HeaderValue, Failure> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Failure::BadRequest(
            "there is more than one Host header".into(),
        ));
    }
    let host = match (parts.uri.authority(), host) {
        // Whatever its target is (RFC 9112, section 3.2).
        (_, None) if parts.version == Version::HTTP_11 => {
            return Err(Failure::BadRequest("there is no Host header".into()));
        }
        (Some(authority), _) => HeaderValue::from_str(authority.as_str())
            .map_err(|_| Failure::BadRequest("the host is malformed".into()))?,
        (None, Some(host)) => host.clone(),
        // HTTP/1.0 knows no hosts; paths may still lead somewhere.
        (None, None) if parts.version == Version::HTTP_10 => HeaderValue::from_static(""),
        (None, None) => return Err(Failure::BadRequest("there is no Host header".into())),
    };
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]~%".contains(byte);
    if host.as_bytes().iter().all(fits) {
        Ok(host)
    } else {
        Err(Failure::BadRequest("the host is malformed".into()))
    }
}

/// The function that a request is for, and how many bytes of its path only lead there.
fn route(
    context: &ProxyContext,
    caller: &Caller,
    host: &HeaderValue,
    parts: &Parts,
) -> Option<(Arc<Function>, usize)> {
    let routes = context.registry.routes();
    let (host, path) = (host.to_str().unwrap_or_default(), parts.uri.path());
    let found = match caller.entrance {
        Entrance::Public => routes.find(host, path),
        Entrance::Internal => {
            let namespace = Routes::needs_namespace(host, path).then(|| caller.namespace(context));
            routes.find_in_cluster(host, path, namespace.flatten().as_deref())
        }
    }?;
    Some((found.function.clone(), found.strip))
}

/// The same for a function that another gateway has heard of, and this one not yet.
async fn route_later(
    context: &ProxyContext,
    caller: &Caller,
    host: &HeaderValue,
    parts: &Parts,
) -> Option<(Arc<Function>, usize)> {
    let until = Instant::now() + LATE_NEWS;
    while Instant::now() < until {
        tokio::time::sleep(NEWS_PAUSE).await;
        let found = route(context, caller, host, parts);
        if found.is_some() {
            return found;
        }
    }
    None
}
