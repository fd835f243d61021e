//! What whoever a function belongs to asks of its calls whose callers do not wait.

use fermata_crds::names::{FUNCTION_UID_HEADER, FUNCTIONS_PATH};
use fermata_daemon::watch::Key;
use http::{HeaderValue, Response, header, request::Parts};
use hyper::body::Incoming;

use super::{
    Identity,
    defer::host_of,
    events::{Question, answer, ask},
};
use crate::{
    failure::Failure,
    proxy::{access::Record, client::Client, context::ProxyContext, response_body::ResponseBody},
};

/// The longest name of a namespace or a function.
const LONGEST_NAME: usize = 63;

/// Whether the path is one of functions' owners, on whatever host: what they show is for no function.
#[must_use]
pub(crate) fn is_of_owners(path: &str) -> bool {
    path.starts_with(FUNCTIONS_PATH)
}

/// Asks about the calls of a function for whom it belongs to.
///
/// # Cancel safety
///
/// When the future is dropped what was asked for is done or not.
pub(crate) async fn ask_as_owner(
    context: &ProxyContext,
    client: &Client,
    identity: Identity,
    host: &HeaderValue,
    parts: Parts,
    body: Incoming,
    record: Record,
) -> Response<ResponseBody> {
    let requester = identity.requester.clone();
    let asked = async {
        let (owner, is_of_functions) = host_of(context, &identity, host);
        if owner.is_some() || is_of_functions {
            return Err(Failure::NoSuchFunction);
        }
        asked_of(context, client, &identity, parts, body).await
    };
    answer(asked.await, &requester, record)
}

async fn asked_of(
    context: &ProxyContext,
    client: &Client,
    identity: &Identity,
    mut parts: Parts,
    body: Incoming,
) -> Result<Response<Incoming>, Failure> {
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let (function, rest) = read(target).ok_or(Failure::NoSuchFunction)?;
    if context.events.is_none() {
        return Err(Failure::EventsOff);
    }
    let (method, headers) = (&parts.method, &parts.headers);
    let owners = &context.owners;
    let admitted = client.while_connected(owners.admit(client, method, headers, &function));
    admitted.await?;
    let path = format!("/owned/{}/{}{rest}", function.namespace, function.name);
    // It has been looked at, and is for nobody behind.
    for name in [header::AUTHORIZATION, header::COOKIE] {
        parts.headers.remove(name);
    }
    // What an earlier one of its name was sent may have been another tenant's.
    let there = context.registry.function(&function);
    let there = there.ok_or(Failure::NoSuchFunction)?;
    let question = Question {
        path,
        own: vec![(FUNCTION_UID_HEADER, there.uid().to_owned())],
        entrance: identity.caller.entrance,
        parts,
        before: None,
    };
    ask(context, client, question, body).await
}

/// Which function is meant, and what follows `invocations`.
fn read(target: &str) -> Option<(Key, &str)> {
    let (namespace, rest) = target.strip_prefix(FUNCTIONS_PATH)?.split_once('/')?;
    let (name, rest) = rest.split_once('/')?;
    let rest = rest.strip_prefix("invocations")?;
    let is_whole = rest.is_empty() || rest.starts_with(['/', '?']);
    let is_name = |name: &str| {
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(is_plain)
    };
    (is_whole && is_name(namespace) && is_name(name)).then(|| (Key::new(namespace, name), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_function_and_nothing_else() {
        let of = |rest: &str| {
            let path = format!("{FUNCTIONS_PATH}{rest}");
            read(&path).map(|(key, rest)| format!("{}/{} {rest}", key.namespace, key.name))
        };
        for (path, expected) in [
            ("shop/orders/invocations", "shop/orders "),
            (
                "shop/orders/invocations?state=failed",
                "shop/orders ?state=failed",
            ),
            (
                "shop/orders/invocations/7/redrive",
                "shop/orders /7/redrive",
            ),
        ] {
            assert_eq!(of(path).as_deref(), Some(expected));
        }
        for other in [
            "",
            "shop",
            "shop/orders",
            "shop/orders/",
            "shop/orders/invocationsx",
            "/orders/invocations",
            "shop//invocations",
            "../orders/invocations",
            "shop/%2e%2e/invocations",
            "shop/a%2Fb/invocations",
            "SHOP/orders/invocations",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
