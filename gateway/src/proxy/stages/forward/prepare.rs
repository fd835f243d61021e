//! The request in the form that an instance expects.

use fermata_crds::Protocol;
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri, Version,
    header::{CONTENT_LENGTH, COOKIE, HOST, TRANSFER_ENCODING},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Body;

use crate::{
    failure::BadRequest,
    proxy::headers::{self, Hop},
};

/// What the request asks for, as the function is to see it.
#[derive(Debug)]
pub(super) struct RequestTarget {
    host: HeaderValue,
    /// As it was asked for.
    whole: PathAndQuery,
    /// Without the prefix that was only for finding the function, if there is one.
    stripped: Option<PathAndQuery>,
}

// === impl RequestTarget ===

impl RequestTarget {
    /// The target of a request, without the first `strip` bytes of its path.
    pub(super) fn of(host: HeaderValue, uri: &Uri, strip: usize) -> Result<Self, BadRequest> {
        let whole = uri.path_and_query().cloned();
        let whole = whole.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let stripped = match whole.as_str().get(strip..) {
            _ if strip == 0 => None,
            Some(rest) if rest.starts_with('/') => Some(parse(rest)?),
            Some(rest) => Some(parse(&format!("/{rest}"))?),
            None => Some(PathAndQuery::from_static("/")),
        };
        Ok(Self {
            host,
            whole,
            stripped,
        })
    }

    /// What the function sees.
    fn path(&self) -> &PathAndQuery {
        self.stripped.as_ref().unwrap_or(&self.whole)
    }
}

fn parse(path: &str) -> Result<PathAndQuery, BadRequest> {
    path.parse().map_err(|_| BadRequest::Path)
}

/// Aims the request at an instance that speaks the protocol. May be done again for another one.
pub(super) fn aim<B: Body>(
    request: &mut Request<B>,
    protocol: Protocol,
    target: &RequestTarget,
    hop: &Hop,
) {
    let chunked = protocol == Protocol::Http1 && is_chunked(request);
    match protocol {
        Protocol::Http1 => {
            *request.uri_mut() = Uri::from(target.path().clone());
            *request.version_mut() = Version::HTTP_11;
            request.headers_mut().insert(HOST, target.host.clone());
            headers::restore_hop(request.headers_mut(), hop);
            if chunked {
                let coding = HeaderValue::from_static("chunked");
                request.headers_mut().insert(TRANSFER_ENCODING, coding);
            }
        }
        Protocol::H2c => {
            request.headers_mut().remove(TRANSFER_ENCODING);
            *request.uri_mut() = absolute(target, target.path());
            *request.version_mut() = Version::HTTP_2;
            request.headers_mut().remove(HOST);
            let trailers_only = Hop {
                upgrade: None,
                trailers: hop.trailers,
            };
            headers::restore_hop(request.headers_mut(), &trailers_only);
            request.headers_mut().remove(http::header::CONNECTION);
        }
    }
}

/// Whether the body has to be framed in chunks and hyper would not: it leaves out a body without a
/// length where one is not usual, such as that of a GET (RFC 9110, section 9.3.1, has no such rule).
fn is_chunked<B: Body>(request: &Request<B>) -> bool {
    let unusual = matches!(*request.method(), Method::GET | Method::HEAD);
    let body = request.body();
    unusual
        && !body.is_end_stream()
        && body.size_hint().exact().is_none()
        && !request.headers().contains_key(CONTENT_LENGTH)
}

/// Sends a request that is aimed at an instance to the function's owner instead, which finds the
/// function by what was asked for, and by what the mark says of the caller.
pub(super) fn pass_on<B>(
    request: &mut Request<B>,
    protocol: Protocol,
    target: &RequestTarget,
    mark: HeaderValue,
) {
    *request.uri_mut() = match protocol {
        Protocol::Http1 => Uri::from(target.whole.clone()),
        Protocol::H2c => absolute(target, &target.whole),
    };
    request.headers_mut().insert(headers::PASSED_ON, mark);
}

/// Takes the mark of a request that was to be passed on off again: it may go to an instance now.
pub(super) fn unmark<B>(request: &mut Request<B>) {
    request.headers_mut().remove(headers::PASSED_ON);
}

fn absolute(target: &RequestTarget, path: &PathAndQuery) -> Uri {
    let authority = Authority::try_from(target.host.as_bytes());
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = authority
        .ok()
        .or_else(|| Some(Authority::from_static("localhost")));
    parts.path_and_query = Some(path.clone());
    // Complete by construction.
    Uri::from_parts(parts).unwrap_or_default()
}

/// HTTP/2 may split cookies up, which nothing else understands (RFC 9113, section 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    if let (Some(first), Some(_)) = (cookies.next(), cookies.next()) {
        let mut joined = first.as_bytes().to_vec();
        for cookie in headers.get_all(COOKIE).iter().skip(1) {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(cookie.as_bytes());
        }
        if let Ok(joined) = HeaderValue::from_bytes(&joined) {
            headers.insert(COOKIE, joined);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;

    use super::*;

    fn path(uri: &'static str, strip: usize) -> String {
        let host = HeaderValue::from_static("a.example");
        let target = RequestTarget::of(host, &Uri::from_static(uri), strip).unwrap();
        target.path().as_str().to_owned()
    }

    #[test]
    fn the_routing_prefix_goes_and_the_query_stays() {
        let prefix = "/function/hello".len();
        assert_eq!(path("/a/b?c=d", 0), "/a/b?c=d");
        assert_eq!(path("/function/hello/a?x=/y", prefix), "/a?x=/y");
        assert_eq!(path("/function/hello?x", prefix), "/?x");
        assert_eq!(path("/function/hello", prefix), "/");
        assert_eq!(path("/function/hello//a", prefix), "//a");
        assert_eq!(path("http://a.example/x?y", 0), "/x?y");
    }

    #[test]
    fn each_protocol_gets_its_own_form() {
        let host = HeaderValue::from_static("a.example:8080");
        let target = RequestTarget::of(host, &Uri::from_static("/x?y"), 0).unwrap();
        let hop = Hop {
            upgrade: None,
            trailers: true,
        };
        let mut request = Request::new(Empty::<Bytes>::new());
        aim(&mut request, Protocol::H2c, &target, &hop);
        assert_eq!(request.uri(), "http://a.example:8080/x?y");
        assert!(!request.headers().contains_key(HOST));
        assert_eq!(request.headers()["te"], "trailers");
        assert!(!request.headers().contains_key("connection"));

        aim(&mut request, Protocol::Http1, &target, &hop);
        assert_eq!(request.uri(), "/x?y");
        assert_eq!(request.version(), Version::HTTP_11);
        assert_eq!(request.headers()[HOST], "a.example:8080");
    }

    #[test]
    fn an_owner_sees_what_was_asked_for_and_an_instance_no_trace_of_that() {
        let host = HeaderValue::from_static("a.example");
        let prefix = "/function/hello".len();
        let asked = Uri::from_static("/function/hello/x?y");
        let target = RequestTarget::of(host, &asked, prefix).unwrap();
        for (protocol, to_owner, to_instance) in [
            (Protocol::Http1, "/function/hello/x?y", "/x?y"),
            (
                Protocol::H2c,
                "http://a.example/function/hello/x?y",
                "http://a.example/x?y",
            ),
        ] {
            let mut request = Request::new(Empty::<Bytes>::new());
            aim(&mut request, protocol, &target, &Hop::default());
            let at_first = request.headers().clone();
            pass_on(&mut request, protocol, &target, headers::mark(None, 1));
            assert_eq!(request.uri(), to_owner);
            assert!(request.headers().contains_key(headers::PASSED_ON));
            unmark(&mut request);
            aim(&mut request, protocol, &target, &Hop::default());
            assert_eq!(request.uri(), to_instance);
            assert_eq!(*request.headers(), at_first);
        }
    }

    #[test]
    fn split_cookies_become_one() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1"));
        headers.append(COOKIE, HeaderValue::from_static("b=2"));
        join_cookies(&mut headers);
        assert_eq!(
            headers.get_all(COOKIE).iter().collect::<Vec<_>>(),
            ["a=1; b=2"]
        );
    }
}
