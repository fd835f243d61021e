//! What happens to headers on their way through.

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{self, CONNECTION, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE},
};

use crate::proxy::header_scan::HeaderScan;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Marks a request that a gateway passes on to the function's owner. It is believed only from the
/// address of a gateway. Its value is the caller's namespace, or [`UNKNOWN_NAMESPACE`], and how often the
/// request was passed on, as in `default/1`.
pub(crate) const PASSED_ON: HeaderName = HeaderName::from_static("x-fermata-passed-on");

/// What is said of a caller whose namespace is not known; no namespace has this name.
pub(crate) const UNKNOWN_NAMESPACE: &str = "-";

/// The value of [`PASSED_ON`].
#[must_use]
pub(crate) fn mark(namespace: Option<&str>, hops: u32) -> HeaderValue {
    let namespace = namespace.unwrap_or(UNKNOWN_NAMESPACE);
    HeaderValue::try_from(format!("{namespace}/{hops}")).unwrap_or(HeaderValue::from_static("-/1"))
}

/// The namespace and the number in a value of [`PASSED_ON`]. Other versions may say less.
#[must_use]
pub(crate) fn read_mark(mark: &HeaderValue) -> (Option<Box<str>>, u32) {
    let mark = mark.to_str().unwrap_or_default();
    let Some((namespace, hops)) = mark.split_once('/') else {
        return (None, 1);
    };
    let namespace = Some(namespace).filter(|namespace| *namespace != UNKNOWN_NAMESPACE);
    (namespace.map(Into::into), hops.parse().unwrap_or(u32::MAX))
}

/// What a request wants of its connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hop {
    /// The protocol to switch to.
    pub(crate) upgrade: Option<HeaderValue>,
    /// Whether trailers are welcome in the response.
    pub(crate) trailers: bool,
}

/// Removes what is only meant for the connection it came over (RFC 9110, section 7.6.1), and says
/// what of that the request wants.
pub(crate) fn strip_hop(headers: &mut HeaderMap, version: Version, scan: &HeaderScan) -> Hop {
    let mut hop = Hop::default();
    if !scan.hop {
        return hop;
    }
    if let Some(te) = headers.get(TE) {
        hop.trailers = tokens(te).any(|token| token.eq_ignore_ascii_case("trailers"));
    }
    if headers.contains_key(CONNECTION) {
        let mut upgrades = false;
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(tokens)
            .filter_map(|token| {
                upgrades |= token.eq_ignore_ascii_case("upgrade");
                token.parse().ok()
            })
            .collect();
        if upgrades && version == Version::HTTP_11 {
            hop.upgrade = headers
                .get(UPGRADE)
                .filter(|protocol| !is_h2c(protocol))
                .cloned();
        }
        for name in named {
            // A sender must not name these: without them the message would be another one.
            if name != HOST && name != header::CONTENT_LENGTH {
                headers.remove(name);
            }
        }
        headers.remove(CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    hop
}

/// The gateway itself tells the client to go on, by reading its body.
pub(crate) fn strip_expect(headers: &mut HeaderMap) {
    let is_continue =
        |expect: &HeaderValue| expect.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get(EXPECT).is_some_and(is_continue) {
        headers.remove(EXPECT);
    }
}

/// Puts back what the next hop has to know.
pub(crate) fn restore_hop(headers: &mut HeaderMap, hop: &Hop) {
    if let Some(protocol) = &hop.upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    } else if hop.trailers {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if hop.trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// An upgrade to HTTP/2, which RFC 9113 has withdrawn.
fn is_h2c(protocol: &HeaderValue) -> bool {
    tokens(protocol).all(|token| token.eq_ignore_ascii_case("h2c"))
}

/// The tokens of a list. One that is none takes nothing away from the others.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .filter_map(|token| std::str::from_utf8(token.trim_ascii()).ok())
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    fn strip(headers: &mut HeaderMap) -> Hop {
        let scan = HeaderScan::of(headers);
        strip_hop(headers, Version::HTTP_11, &scan)
    }

    #[test]
    fn headers_of_the_connection_are_removed_with_those_it_names() {
        let mut some = headers(&[
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("x-public", "2"),
        ]);
        let hop = strip(&mut some);
        assert_eq!(some, headers(&[("x-public", "2")]));
        assert!(hop.trailers);
        assert_eq!(hop.upgrade, None);
    }

    #[test]
    fn the_connection_header_cannot_remove_what_makes_the_message() {
        let mut some = headers(&[
            ("connection", "host, content-length, x"),
            ("host", "a"),
            ("content-length", "3"),
        ]);
        strip(&mut some);
        assert_eq!(some, headers(&[("host", "a"), ("content-length", "3")]));
    }

    #[test]
    fn an_upgrade_is_kept_for_the_next_hop_but_not_one_to_http_2() {
        let upgrade = |protocol| {
            let mut some = headers(&[("connection", "Upgrade"), ("upgrade", protocol)]);
            let hop = strip(&mut some);
            assert!(some.is_empty());
            restore_hop(&mut some, &hop);
            some
        };
        let websocket = [("connection", "upgrade"), ("upgrade", "websocket")];
        assert_eq!(upgrade("websocket"), headers(&websocket));
        assert!(upgrade("h2c").is_empty());
    }
}

#[cfg(test)]
mod fuzz;
