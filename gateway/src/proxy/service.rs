//! One request, from its head to its response's.

use std::sync::atomic::Ordering;

use fermata_crds::names::{FUNCTION_UID_HEADER, FUNCTIONS_PATH, INVOCATIONS_PATH};
use http::{
    HeaderValue, Request, Response, StatusCode, Version, header::CONNECTION, request::Parts,
};
use hyper::body::Incoming;

use crate::{
    backend::function::Function,
    cluster::peers::Entrance,
    failure::Failure,
    proxy::{
        access::Record,
        caller::Caller,
        client::Client,
        context::ProxyContext,
        respond::{REASON, refuse},
        response_body::ResponseBody,
        stages::{
            Call, Identity, Routed, ask_about, ask_as_owner, check, defer, forward, identify,
            is_of_invocations, is_of_owners, is_of_topics, prefers_async, publish, route,
        },
    },
};

/// Answers a request, by its function or in its place. When the gateway is about to stop, the answer
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
    let limits = &context.limits;
    let identity = identify(&context.peers, limits.error_details, client, &mut parts);
    let host = match check(limits, &parts, &identity.scan) {
        Ok(host) => host,
        Err(failure) => return refuse(&failure, &identity.requester, record),
    };
    if limits.access_log {
        let id = &identity.requester.id;
        let path = parts.uri.path();
        // The id that follows is the key to what was answered.
        let path = if is_of_invocations(path) {
            INVOCATIONS_PATH
        } else if is_of_owners(path) {
            FUNCTIONS_PATH
        } else {
            path
        };
        record.log(&parts.method, &host, path, id);
    }
    // A call that comes back is for its function, whatever its path.
    let comes_back = identity.scan.function_uid && identity.caller.entrance == Entrance::Internal;
    if is_of_invocations(parts.uri.path()) && !comes_back {
        return ask_about(context, client, identity, &host, parts, body, record).await;
    }
    if is_of_owners(parts.uri.path()) && !comes_back {
        return ask_as_owner(context, client, identity, &host, parts, body, record).await;
    }
    let path = parts.uri.path();
    if !comes_back && is_of_topics(context, &identity.caller, &host, path) {
        return publish(context, client, identity, parts, body, record).await;
    }
    let Identity {
        scan,
        hop,
        caller,
        requester,
    } = identity;
    let Some(routed) = route(&context.registry, &caller, &host, &parts).await else {
        return refuse(&Failure::NoSuchFunction, &requester, record);
    };
    let Routed {
        function,
        strip,
        deferred,
    } = routed;
    if scan.function_uid && !is_meant(&caller, &parts, &function) {
        return refuse(&Failure::NoSuchFunction, &requester, record);
    }
    let deferred = deferred || (scan.prefer && prefers_async(&parts.headers));
    record.routed(function.clone());
    let call = Call {
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
    if deferred {
        defer(context, client, call, record).await
    } else {
        forward(context, client, call, record).await
    }
}

/// Whether a caller inside the cluster that names the function by its uid means this one, and no earlier one of the
/// same name.
fn is_meant(caller: &Caller, parts: &Parts, function: &Function) -> bool {
    let uid = parts.headers.get(FUNCTION_UID_HEADER);
    caller.entrance == Entrance::Public || uid.is_none_or(|uid| uid == function.uid())
}
