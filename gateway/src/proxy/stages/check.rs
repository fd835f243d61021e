//! The second stage: whether a request makes sense, and is no larger than it may be.

use http::{
    HeaderValue, Method, Version,
    header::{CONTENT_LENGTH, HOST},
    request::Parts,
};

use crate::{
    failure::{BadRequest, Failure},
    proxy::{
        context::{Limits, MOST_FIELDS},
        header_scan::HeaderScan,
    },
};

/// Refuses what makes no sense or is too large; returns the host that is asked for.
///
/// # Errors
///
/// `HeadersTooLarge`, `UnsupportedCoding`, `BadRequest` or `PayloadTooLarge`.
pub(crate) fn check(
    limits: &Limits,
    parts: &Parts,
    scan: &HeaderScan,
) -> Result<HeaderValue, Failure> {
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
    if scan.foreign_coding {
        return Err(Failure::ForeignCoding);
    }
    if parts.method == Method::CONNECT {
        return Err(BadRequest::Connect.into());
    }
    if limits.body_bytes > 0 {
        let length = parts.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > limits.body_bytes) {
            return Err(Failure::PayloadTooLarge {
                limit: limits.body_bytes,
            });
        }
    }
    Ok(host(parts)?)
}

/// The host that is asked for: of the target if it has one (RFC 9112, section 3.2.2), else of the
/// one `Host` header.
fn host(parts: &Parts) -> Result<HeaderValue, BadRequest> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(BadRequest::ManyHosts);
    }
    let host = match (parts.uri.authority(), host) {
        // Whatever its target is (RFC 9112, section 3.2).
        (_, None) if parts.version == Version::HTTP_11 => return Err(BadRequest::NoHost),
        (Some(authority), _) => {
            HeaderValue::from_str(authority.as_str()).map_err(|_| BadRequest::Host)?
        }
        (None, Some(host)) => host.clone(),
        // HTTP/1.0 knows no hosts; paths may still lead somewhere.
        (None, None) if parts.version == Version::HTTP_10 => HeaderValue::from_static(""),
        (None, None) => return Err(BadRequest::NoHost),
    };
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]~%".contains(byte);
    if host.as_bytes().iter().all(fits) {
        Ok(host)
    } else {
        Err(BadRequest::Host)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::Options;

    fn checked(
        build: fn(http::request::Builder) -> http::request::Builder,
    ) -> Result<String, String> {
        let limits = Limits::of(&Options {
            max_header_bytes: 200,
            max_body_bytes: 10,
            ..Options::default()
        });
        let (parts, ()) = build(Request::builder()).body(()).unwrap().into_parts();
        let scan = HeaderScan::of(&parts.headers);
        let checked = check(&limits, &parts, &scan);
        let host =
            checked.map_err(|failure| format!("{}: {failure}", failure.reason().as_str()))?;
        Ok(host.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_host_is_that_of_the_target_or_of_the_one_header() {
        let by_header = checked(|request| request.uri("/x").header("host", "a.example:80"));
        assert_eq!(by_header.as_deref(), Ok("a.example:80"));
        let by_target =
            checked(|request| request.uri("http://b.example/").header("host", "a.example"));
        assert_eq!(by_target.as_deref(), Ok("b.example"));
        let old = checked(|request| request.version(Version::HTTP_10).uri("/x"));
        assert_eq!(old.as_deref(), Ok(""));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |checked: Result<String, String>| checked.unwrap_err();
        let none = checked(|request| request.uri("/x"));
        assert_eq!(refused(none), "BadRequest: there is no Host header");
        let two = checked(|request| request.header("host", "a").header("host", "a"));
        assert_eq!(
            refused(two),
            "BadRequest: there is more than one Host header"
        );
        let odd = checked(|request| request.header("host", "a/b"));
        assert_eq!(refused(odd), "BadRequest: the host is malformed");
        let connect = checked(|request| request.method("CONNECT").header("host", "a"));
        assert!(refused(connect).starts_with("BadRequest: CONNECT"));
        let coding = checked(|request| {
            request
                .header("host", "a")
                .header("transfer-encoding", "gzip")
        });
        assert!(refused(coding).starts_with("UnsupportedCoding"));
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let body = checked(|request| request.header("host", "a").header("content-length", "11"));
        assert!(body.unwrap_err().starts_with("PayloadTooLarge"));
        let fits = checked(|request| request.header("host", "a").header("content-length", "10"));
        assert_eq!(fits.as_deref(), Ok("a"));
        let head = checked(|request| request.header("host", "a").header("x", "y".repeat(200)));
        assert!(head.unwrap_err().starts_with("HeadersTooLarge"));
    }
}
