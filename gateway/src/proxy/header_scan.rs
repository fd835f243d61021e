//! What a message's headers hold, found in one pass.
//!
//! Most messages have few of the headers that the gateway has to do something about, and to look for
//! one by its name costs about as much as to walk past all of them.

use http::{HeaderMap, HeaderValue};

use crate::proxy::forwarding::is_forwarding;

/// What there is among the headers of one message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct HeaderScan {
    /// About as many bytes as the headers took on the wire.
    pub(crate) bytes: usize,
    /// How many there are.
    pub(crate) fields: usize,
    /// One that is only meant for the connection it came over (RFC 9110, section 7.6.1).
    pub(crate) hop: bool,
    /// Another transfer coding than chunked alone (RFC 9112, section 7), which nothing here can undo and the
    /// next hop would not hear of.
    pub(crate) foreign_coding: bool,
    /// `Content-Type`.
    pub(crate) content_type: bool,
    /// `Expect`.
    pub(crate) expect: bool,
    /// More than one `Cookie`.
    pub(crate) cookies: bool,
    /// `X-Request-Id`, `traceparent` or `tracestate`.
    pub(crate) ids: bool,
    /// `Prefer`.
    pub(crate) prefer: bool,
    /// `X-Fermata-Reason`.
    pub(crate) reason: bool,
    /// `X-Fermata-Function-Uid`.
    pub(crate) function_uid: bool,
    /// `X-Fermata-Passed-On`.
    pub(crate) passed_on: bool,
    /// One that says for whom a proxy asks.
    pub(crate) forwarding: bool,
}

// === impl HeaderScan ===

impl HeaderScan {
    /// Walks past the headers.
    #[must_use]
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut scan = Self::default();
        let (mut cookie, mut coded) = (false, false);
        for (name, value) in headers {
            let name = name.as_str();
            scan.bytes += name.len() + value.len() + 4;
            scan.fields += 1;
            match name {
                "connection" | "keep-alive" | "proxy-connection" | "te" | "upgrade" => {
                    scan.hop = true;
                }
                "transfer-encoding" => {
                    scan.hop = true;
                    scan.foreign_coding |= coded || !is_chunked(value);
                    coded = true;
                }
                "content-type" => scan.content_type = true,
                "expect" => scan.expect = true,
                "cookie" => {
                    scan.cookies |= cookie;
                    cookie = true;
                }
                "x-request-id" | "traceparent" | "tracestate" => scan.ids = true,
                "x-fermata-passed-on" => scan.passed_on = true,
                "prefer" => scan.prefer = true,
                "x-fermata-function-uid" => scan.function_uid = true,
                "x-fermata-reason" => scan.reason = true,
                name => scan.forwarding |= is_forwarding(name),
            }
        }
        scan
    }
}

fn is_chunked(coding: &HeaderValue) -> bool {
    let coding = coding.as_bytes().trim_ascii();
    coding.eq_ignore_ascii_case(b"chunked")
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, header};

    use super::*;
    use crate::proxy::{
        headers::PASSED_ON,
        ids::{REQUEST_ID, TRACEPARENT},
    };

    fn of(names: &[HeaderName]) -> HeaderScan {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(name, HeaderValue::from_static("value"));
        }
        HeaderScan {
            bytes: 0,
            fields: 0,
            ..HeaderScan::of(&headers)
        }
    }

    #[test]
    fn bytes_are_those_on_the_wire() {
        let mut headers = HeaderMap::new();
        headers.append("a", HeaderValue::from_static("1"));
        headers.append("a", HeaderValue::from_static("22"));
        let scan = HeaderScan::of(&headers);
        assert_eq!(scan.bytes, "a: 1\r\na: 22\r\n".len());
        assert_eq!(scan.fields, 2);
    }

    #[test]
    fn each_header_is_seen() {
        let dull = [header::ACCEPT, header::HOST, header::COOKIE];
        assert_eq!(of(&dull), HeaderScan::default());
        assert!(of(&[header::COOKIE, header::COOKIE]).cookies);
        for name in [
            REQUEST_ID,
            TRACEPARENT,
            HeaderName::from_static("tracestate"),
        ] {
            assert!(of(std::slice::from_ref(&name)).ids, "{name}");
        }
        for name in [
            header::CONNECTION,
            header::TE,
            header::TRANSFER_ENCODING,
            header::UPGRADE,
            HeaderName::from_static("keep-alive"),
            HeaderName::from_static("proxy-connection"),
        ] {
            assert!(of(std::slice::from_ref(&name)).hop, "{name}");
        }
        for name in ["x-forwarded-for", "x-forwarded-x", "forwarded", "x-real-ip"] {
            assert!(of(&[HeaderName::from_static(name)]).forwarding, "{name}");
        }
        assert!(of(&[PASSED_ON]).passed_on);
        assert!(of(&[header::EXPECT]).expect);
        assert!(of(&[header::CONTENT_TYPE]).content_type);
    }

    #[test]
    fn other_codings_than_chunked_alone_are_foreign() {
        for (codings, foreign) in [
            (vec![], false),
            (vec!["chunked"], false),
            (vec![" Chunked"], false),
            (vec!["gzip, chunked"], true),
            (vec!["chunked, chunked"], true),
            (vec!["gzip", "chunked"], true),
            (vec!["gzip"], true),
            (vec![""], true),
        ] {
            let mut headers = HeaderMap::new();
            for coding in &codings {
                headers.append(header::TRANSFER_ENCODING, HeaderValue::from_static(coding));
            }
            assert_eq!(
                HeaderScan::of(&headers).foreign_coding,
                foreign,
                "{codings:?}"
            );
        }
    }
}
