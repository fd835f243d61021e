//! The first stage: who asks, and under which name the request is known.

use http::request::Parts;

use crate::{
    cluster::peers::Peers,
    options::ErrorDetails,
    proxy::{
        caller::Caller,
        client::Client,
        header_scan::HeaderScan,
        headers::{self, Hop, PASSED_ON},
        ids,
        respond::Requester,
    },
};

/// What is known of a request before it is known where it goes.
#[derive(Debug)]
pub(crate) struct Identity {
    /// What its headers held when it came.
    pub(crate) scan: HeaderScan,
    /// What it wants of its connection.
    pub(crate) hop: Hop,
    /// Who sent it.
    pub(crate) caller: Caller,
    /// Who gets the answer.
    pub(crate) requester: Requester,
}

/// Tells who asks, gives the request a name, and takes off its head what is for this connection alone.
/// Callers are told as much as `details` says.
pub(crate) fn identify(
    peers: &Peers,
    details: ErrorDetails,
    client: &Client,
    parts: &mut Parts,
) -> Identity {
    // Before the request's own name is added to it.
    let scan = HeaderScan::of(&parts.headers);
    // Before anything is added, so that what a client says of its connection touches nothing of that.
    let hop = headers::strip_hop(&mut parts.headers, parts.version, &scan);
    let mark = scan.passed_on.then(|| parts.headers.remove(PASSED_ON));
    let caller = Caller::of(peers, client, mark.flatten().as_ref());
    let id = ids::identify(&mut parts.headers, &scan);
    let requester = Requester::of(&parts.method, &parts.headers, &scan, id).with_details(details);
    Identity {
        scan,
        hop,
        caller,
        requester,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;
    use crate::{
        cluster::peers::{Entrance, Sender},
        proxy::ids::REQUEST_ID,
    };

    fn identified(headers: &[(&'static str, &'static str)]) -> (Identity, Parts) {
        let (mut parts, ()) = Request::new(()).into_parts();
        for (name, value) in headers {
            parts.headers.append(*name, HeaderValue::from_static(value));
        }
        let address = "192.0.2.7:1234".parse().unwrap();
        let client = Client::new(address, address, Entrance::Public, &[]);
        let peers = Peers::new("own", 8080, 8081);
        let identity = identify(&peers, ErrorDetails::Public, &client, &mut parts);
        (identity, parts)
    }

    #[test]
    fn each_request_has_a_name_that_its_answer_has_too() {
        let (identity, parts) = identified(&[]);
        assert_eq!(identity.caller.sender, Sender::Client);
        assert_eq!(parts.headers[REQUEST_ID], identity.requester.id);
    }

    #[test]
    fn the_mark_of_who_is_no_gateway_is_taken_off_and_not_believed() {
        let (identity, parts) = identified(&[("x-fermata-passed-on", "kube-system/1")]);
        assert_eq!(identity.caller.sender, Sender::Unknown);
        assert_eq!(identity.caller.hops, 0);
        assert!(!parts.headers.contains_key(PASSED_ON));
    }

    #[test]
    fn what_is_for_the_connection_touches_nothing_that_is_added() {
        let (identity, parts) = identified(&[
            ("connection", "x-request-id, x-a"),
            ("x-a", "1"),
            ("te", "trailers"),
        ]);
        assert!(identity.hop.trailers);
        assert!(!parts.headers.contains_key("x-a"));
        assert_eq!(parts.headers[REQUEST_ID], identity.requester.id);
    }
}
