//! The other last stage: a call whose caller does not wait for the answer is handed to the events program, which keeps
//! it and makes it later, as an ordinary request from inside the cluster.

use http::{HeaderMap, HeaderName, HeaderValue, Response, request::Parts, uri::PathAndQuery};
use hyper::body::Incoming;

use fermata_crds::names::{DELIVERY_HEADER, FUNCTION_UID_HEADER, INVOCATIONS_PATH};

use super::{
    Call, Identity,
    events::{Question, answer, ask},
};
use crate::{
    cluster::peers::Entrance,
    failure::{BadRequest, Failure},
    proxy::{
        access::Record,
        client::Client,
        context::{MOST_FIELDS, ProxyContext},
        forwarding, headers,
        respond::refuse,
        response_body::ResponseBody,
    },
};

/// The preference for an answer before the work is done (RFC 7240, section 4.1).
const RESPOND_ASYNC: &str = "respond-async";

/// Bytes and fields that are added to the head of a call when it is made.
const ADDED: (usize, usize) = (1024, 16);

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Whether the caller does not want to wait.
#[must_use]
pub(crate) fn prefers_async(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all(PREFER).iter();
    let mut preferences =
        preferences.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    preferences.any(|preference| {
        let name = preference.split(|byte| matches!(byte, b';' | b'=')).next();
        let name = name.unwrap_or_default().trim_ascii();
        name.eq_ignore_ascii_case(RESPOND_ASYNC.as_bytes())
    })
}

/// Whether the path is one of calls that were deferred, on whatever host.
#[must_use]
pub(crate) fn is_of_invocations(path: &str) -> bool {
    path.starts_with(INVOCATIONS_PATH)
}

/// Has the call kept.
///
/// # Cancel safety
///
/// When the future is dropped the call is kept or not.
pub(crate) async fn defer(
    context: &ProxyContext,
    client: &Client,
    call: Call,
    record: Record,
) -> Response<ResponseBody> {
    let Call {
        function,
        strip,
        scan,
        hop,
        mut parts,
        body,
        requester,
        caller,
        ..
    } = call;
    if hop.upgrade.is_some() {
        return refuse(&BadRequest::DeferredUpgrade.into(), &requester, record);
    }
    let key = function.key();
    let target = parts
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let room = context.limits.header_bytes.saturating_sub(ADDED.0);
    if target + scan.bytes > room || scan.fields > MOST_FIELDS - ADDED.1 {
        return refuse(&Failure::DeferredTooLarge, &requester, record);
    }
    // What answers below a path of the gateway's own has no name from within.
    let name = format!("{}.{}.svc", key.name, key.namespace);
    let by_name = context
        .registry
        .routes()
        .owner_in_cluster(&name, None)
        .cloned();
    if by_name.is_none_or(|found| found.uid() != function.uid()) {
        return refuse(&Failure::NotDeferrable, &requester, record);
    }
    if scan.expect {
        headers::strip_expect(&mut parts.headers);
    }
    if scan.forwarding {
        // The call comes back from within: nobody is to be believed then who is not now.
        forwarding::remove(&mut parts.headers);
    }
    let whole = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = whole.get(strip..).unwrap_or_default();
    let slash = if rest.starts_with('/') { "" } else { "/" };
    let path = format!("/functions/{}/{}{slash}{rest}", key.namespace, key.name);
    let delivery = context.registry.delivery(key);
    let delivery = delivery.as_deref().unwrap_or("{}");
    let question = Question {
        path,
        own: vec![
            (FUNCTION_UID_HEADER, function.uid().to_owned()),
            (DELIVERY_HEADER, delivery.to_owned()),
        ],
        entrance: caller.entrance,
        parts,
        before: None,
    };
    let asked = ask(context, client, question, body);
    answer(asked.await, &requester, record)
}

/// Asks what became of a call that was deferred. Where a host is a function's own, only of its calls: what they were
/// answered is told under that host's name.
///
/// # Cancel safety
///
/// When the future is dropped what was asked for is done or not.
pub(crate) async fn ask_about(
    context: &ProxyContext,
    client: &Client,
    identity: Identity,
    host: &HeaderValue,
    parts: Parts,
    body: Incoming,
    record: Record,
) -> Response<ResponseBody> {
    let (owner, is_of_functions) = host_of(context, &identity, host);
    let Identity {
        caller, requester, ..
    } = identity;
    if owner.is_none() && is_of_functions {
        return refuse(&Failure::NoSuchFunction, &requester, record);
    }
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let id = path.strip_prefix(INVOCATIONS_PATH).unwrap_or_default();
    let path = format!("/invocations/{id}");
    let owner = owner.map(|owner| (FUNCTION_UID_HEADER, owner));
    let question = Question {
        path,
        own: owner.into_iter().collect(),
        entrance: caller.entrance,
        parts,
        before: None,
    };
    let asked = ask(context, client, question, body);
    answer(asked.await, &requester, record)
}

/// The uid of the function whose own the host is, if there is one, and whether the host is one that functions alone
/// have.
pub(super) fn host_of(
    context: &ProxyContext,
    identity: &Identity,
    host: &HeaderValue,
) -> (Option<String>, bool) {
    let (routes, caller) = (context.registry.routes(), &identity.caller);
    let host = host.to_str().unwrap_or_default();
    let owner = match caller.entrance {
        Entrance::Public => routes.owner(host),
        Entrance::Internal => {
            routes.owner_in_cluster(host, caller.namespace(&context.registry).as_deref())
        }
    };
    let owner = owner.map(|function| function.uid().to_owned());
    (owner, routes.is_of_functions(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefers(values: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, HeaderValue::from_static(value));
        }
        prefers_async(&headers)
    }

    #[test]
    fn a_preference_is_one_of_a_list_with_parameters() {
        assert!(prefers(&["respond-async"]));
        assert!(prefers(&["Respond-Async, wait=10"]));
        assert!(prefers(&["return=minimal; foo, respond-async ; x=y"]));
        assert!(prefers(&["handling=lenient", "respond-async"]));
        assert!(!prefers(&[]));
        assert!(!prefers(&["return=respond-async"]));
        assert!(!prefers(&["respond-asynchronous", "wait=10"]));
    }
}
