//! The headers by which proxies say whom they ask for.

use std::{fmt::Write, net::SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// What all of the common kind begin with.
const COMMON: &str = "x-forwarded";

/// The others that frameworks and libraries take a client's address from.
const OTHERS: [&str; 9] = [
    "forwarded",
    "forwarded-for",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
];

/// Whether a header of this name, in lower case, says for whom somebody asks. Underscores count as
/// hyphens, for CGI and its followers cannot tell the two apart (RFC 3875, section 4.1.18).
#[must_use]
pub(crate) fn is_forwarding(name: &str) -> bool {
    // Most names are told by their first letter.
    if !matches!(name.as_bytes().first(), Some(b'x' | b'f' | b'c' | b't')) {
        return false;
    }
    let begins = |known: &str| {
        let beginning = name.as_bytes().get(..known.len());
        beginning.is_some_and(|beginning| same(beginning, known.as_bytes()))
    };
    begins(COMMON) || OTHERS.iter().any(|it| it.len() == name.len() && begins(it))
}

fn same(name: &[u8], known: &[u8]) -> bool {
    let hyphen = |byte: &u8| if *byte == b'_' { b'-' } else { *byte };
    name.iter().map(hyphen).eq(known.iter().copied())
}

/// Removes all of them.
pub(super) fn remove(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_forwarding(name.as_str()))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// Says whom the gateway asks for, where nobody has said so before.
pub(super) fn set(
    headers: &mut HeaderMap,
    address: &HeaderValue,
    element: HeaderValue,
    host: &HeaderValue,
    prefix: Option<&str>,
) {
    headers.insert(FORWARDED_FOR, address.clone());
    headers.insert(header::FORWARDED, element);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    headers.insert(FORWARDED_HOST, host.clone());
    set_prefix(headers, "", prefix);
}

/// Adds to what a proxy before the gateway has said.
pub(super) fn add(
    headers: &mut HeaderMap,
    address: &HeaderValue,
    element: &HeaderValue,
    host: &HeaderValue,
    prefix: Option<&str>,
) {
    append(headers, FORWARDED_FOR, address);
    append(headers, header::FORWARDED, element);
    let proto = headers.entry(FORWARDED_PROTO);
    proto.or_insert(HeaderValue::from_static("http"));
    headers
        .entry(FORWARDED_HOST)
        .or_insert_with(|| host.clone());
    // What the proxy took off came before what the gateway takes off.
    let before = headers.get(FORWARDED_PREFIX).cloned();
    let before = before.as_ref().and_then(|before| before.to_str().ok());
    set_prefix(headers, before.unwrap_or_default(), prefix);
}

/// Says which part of the path the function does not see.
fn set_prefix(headers: &mut HeaderMap, before: &str, prefix: Option<&str>) {
    if let Some(prefix) = prefix
        && let Ok(whole) = HeaderValue::try_from(before.trim_end_matches('/').to_owned() + prefix)
    {
        headers.insert(FORWARDED_PREFIX, whole);
    }
}

/// One element of RFC 7239. What has a port has to be quoted. Behind address translation, and on one machine, it is
/// the port that tells clients apart.
pub(super) fn element(client: SocketAddr, host: &HeaderValue) -> HeaderValue {
    let mut text = String::with_capacity(64);
    // Writing to a String cannot fail.
    let _ = write!(text, "for=\"{client}\"");
    if let Ok(host) = host.to_str() {
        let _ = write!(text, ";host=\"{host}\"");
    }
    text.push_str(";proto=http");
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("for=unknown"))
}

fn append(headers: &mut HeaderMap, name: HeaderName, element: &HeaderValue) {
    let mut list = Vec::new();
    for value in headers.get_all(&name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    let value = HeaderValue::from_bytes(&list).unwrap_or_else(|_| element.clone());
    headers.insert(name, value);
}

#[cfg(test)]
mod fuzz;
