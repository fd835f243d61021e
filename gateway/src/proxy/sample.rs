//! Headers made up for property tests.

use fermata_crds::sample::{Choices, pick};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Fields that mean something to the gateway, and some that do not.
const NAMES: [&str; 24] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
    "forwarded",
    "x-forwarded-for",
    "x_forwarded_for",
    "x-forwarded_for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-prefix",
    "x-forwarded",
    "x-real-ip",
    "true-client-ip",
    "x-request-id",
    "cookie",
    "x-a",
    "x-b",
    "forward",
    "client",
];

const VALUES: [&[u8]; 18] = [
    b"",
    b"a",
    b"close",
    b"keep-alive, X-A",
    b"x-b ,, x-a,",
    b"Upgrade",
    b"upgrade, x-forwarded-for",
    b"host, content-length, te",
    b"x-a, \xff, x-b",
    b"trailers",
    b"gzip, Trailers;q=0.5",
    b"websocket",
    b"h2c",
    b"for=1.2.3.4, for=\"[::1]\"",
    b"1.2.3.4",
    b"/api/",
    b"chunked",
    b"\xff",
];

/// Some headers.
pub(super) fn headers(choose: Choices<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for _ in 0..choose(10) {
        let name = HeaderName::from_static(pick(&NAMES, choose));
        if let Ok(value) = HeaderValue::from_bytes(pick(&VALUES, choose)) {
            headers.append(name, value);
        }
    }
    headers
}

/// Each field by itself. Of one name they keep their order, which means something.
pub(super) fn fields(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields
}
