//! A message for a topic: it is handed, with those who hear it, to the events program, which keeps it and delivers it to
//! each of them later, as an ordinary request from inside the cluster.

use fermata_crds::names::{HOPS_HEADER, PUBLISHER_HEADER, TOPIC_PATH_PREFIXES};
use fermata_daemon::watch::Key;
use http::{HeaderValue, Method, Response, header, request::Parts};
use hyper::body::Incoming;

use super::{
    Identity,
    defer::host_of,
    events::{Question, answer, ask},
};
use crate::{
    backend::{router::DEFAULT_NAMESPACE, topics::Unheard},
    cluster::peers::Entrance,
    failure::{BadRequest, Failure, TopicFailure},
    options::ErrorDetails,
    proxy::{
        access::Record, caller::Caller, client::Client, context::ProxyContext, headers,
        respond::refuse, response_body::ResponseBody,
    },
};

/// Whether the request is about a topic: on a host that is no function's own, since that one has all paths.
#[must_use]
pub(crate) fn is_of_topics(
    context: &ProxyContext,
    caller: &Caller,
    host: &HeaderValue,
    path: &str,
) -> bool {
    if name_in(path).is_none() {
        return false;
    }
    let (owner, is_of_functions) = host_of(context, caller, host);
    owner.is_none() && !is_of_functions
}

/// What of the path names a topic, if anything does.
fn name_in(path: &str) -> Option<&str> {
    TOPIC_PATH_PREFIXES
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix))
}

/// Has the message kept.
///
/// # Cancel safety
///
/// When the future is dropped the message is kept or not.
pub(crate) async fn publish(
    context: &ProxyContext,
    client: &Client,
    identity: Identity,
    parts: Parts,
    body: Incoming,
    record: Record,
) -> Response<ResponseBody> {
    let question = match question(context, &identity, parts) {
        Ok(question) => question,
        Err(failure) => return refuse(&failure, &identity.requester, record),
    };
    let asked = ask(context, client, question, body);
    answer(asked.await, &identity.requester, record)
}

fn question(
    context: &ProxyContext,
    identity: &Identity,
    mut parts: Parts,
) -> Result<Question, Failure> {
    let Identity {
        scan,
        hop,
        caller,
        requester,
    } = identity;
    let from_anywhere = caller.entrance == Entrance::Public;
    let namespace = match caller.entrance {
        Entrance::Public => None,
        Entrance::Internal => caller.namespace(&context.registry),
    };
    let named = name_in(parts.uri.path()).unwrap_or_default();
    let topic = match named.split_once('.') {
        Some((name, namespace)) => Key::new(namespace, name),
        None => Key::new(namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE), named),
    };
    let tells = !from_anywhere || requester.details == ErrorDetails::Full;
    let found = context.registry.topics().find(&topic, from_anywhere, tells);
    let subscriptions = found.map_err(|unheard| match unheard {
        Unheard::Unknown(near) => TopicFailure::Unknown {
            name: topic.name.clone(),
            namespace: topic.namespace.clone(),
            near,
        },
        Unheard::TooMany(functions) => TopicFailure::TooManyFunctions {
            name: topic.name.clone(),
            functions,
        },
    })?;
    if parts.method != Method::POST {
        return Err(TopicFailure::OnlyPosted.into());
    }
    if hop.upgrade.is_some() {
        return Err(BadRequest::DeferredUpgrade.into());
    }
    if context.events.is_none() {
        return Err(TopicFailure::Off.into());
    }
    if scan.expect {
        headers::strip_expect(&mut parts.headers);
    }
    if from_anywhere {
        // Who says that many functions have answered before spoils what is answered next.
        parts.headers.remove(HOPS_HEADER);
    }
    // That of the message alone.
    parts.headers.remove(header::CONTENT_LENGTH);
    let publisher = namespace.map(|namespace| (PUBLISHER_HEADER, namespace.into()));
    Ok(Question {
        path: format!("/topics/{}/{}", topic.namespace, topic.name),
        own: publisher.into_iter().collect(),
        entrance: caller.entrance,
        parts,
        before: Some(subscriptions),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_by_both_paths() {
        assert_eq!(name_in("/topics/orders.shop"), Some("orders.shop"));
        assert_eq!(name_in("/messages/orders"), Some("orders"));
        assert_eq!(name_in("/topics"), None);
        assert_eq!(name_in("/function/topics/x"), None);
    }
}
