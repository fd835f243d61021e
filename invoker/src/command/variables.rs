//! The request as environment variables, named as by CGI/1.1 (RFC 3875, section 4.1).

use std::{
    ffi::{OsStr, OsString},
    net::SocketAddr,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

use http::{HeaderName, header, request::Parts};

/// The variables of a request. `length` is the size of its body, if that is known.
pub(crate) fn of(
    parts: &Parts,
    length: Option<u64>,
    peer: SocketAddr,
) -> Vec<(OsString, OsString)> {
    let mut variables: Vec<(OsString, OsString)> = Vec::with_capacity(16 + parts.headers.len());
    let mut put = |name: &str, value: &[u8]| {
        variables.push((name.into(), OsStr::from_bytes(value).to_owned()));
    };
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    let host = parts.headers.get(header::HOST);
    let host = host
        .map(|host| host.as_bytes())
        .or(authority.map(str::as_bytes))
        .unwrap_or_default();
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    put("GATEWAY_INTERFACE", b"CGI/1.1");
    put("SERVER_PROTOCOL", format!("{:?}", parts.version).as_bytes());
    put("SERVER_SOFTWARE", b"fermata");
    put("SERVER_NAME", name_of(host));
    put("REMOTE_ADDR", peer.ip().to_string().as_bytes());
    put("REQUEST_METHOD", parts.method.as_str().as_bytes());
    put("REQUEST_PATH", path.as_bytes());
    put("REQUEST_URI", uri(path, parts.uri.query()).as_bytes());
    put("SCRIPT_NAME", b"");
    put("PATH_INFO", &decoded(path));
    put("QUERY_STRING", query.as_bytes());
    if let Some(length) = length.filter(|length| *length > 0) {
        put("CONTENT_LENGTH", length.to_string().as_bytes());
    }
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        put("CONTENT_TYPE", kind.as_bytes());
    }
    if !parts.headers.contains_key(header::HOST) && !host.is_empty() {
        put("HTTP_HOST", host);
    }
    for name in parts.headers.keys().filter(|name| is_told(name)) {
        let values: Vec<&[u8]> = parts
            .headers
            .get_all(name)
            .iter()
            .map(|value| value.as_bytes())
            .collect();
        let between: &[u8] = if *name == header::COOKIE {
            b"; "
        } else {
            b", "
        };
        let variable = format!(
            "HTTP_{}",
            name.as_str().replace('-', "_").to_ascii_uppercase()
        );
        variables.push((variable.into(), OsString::from_vec(values.join(between))));
    }
    variables
}

/// Not told are fields that have a variable of their own, credentials for a proxy, and `Proxy`: as
/// HTTP_PROXY it would lead the program's own requests astray (<https://httpoxy.org>). Nor are names
/// of other characters than letters, digits and hyphens: with an underscore, X_Forwarded_For would
/// be taken for X-Forwarded-For.
fn is_told(name: &HeaderName) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    name.as_str().bytes().all(is_plain)
        && *name != header::CONTENT_LENGTH
        && *name != header::CONTENT_TYPE
        && *name != header::PROXY_AUTHORIZATION
        && name.as_str() != "proxy"
}

fn uri(path: &str, query: Option<&str>) -> String {
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

fn name_of(host: &[u8]) -> &[u8] {
    let end = match host.iter().rposition(|byte| *byte == b':') {
        // The colons of an IPv6 address stand within brackets.
        Some(colon) if !host[colon..].contains(&b']') => colon,
        _ => host.len(),
    };
    &host[..end]
}

/// The path with its escapes undone. A NUL, which no variable can hold, stays escaped.
fn decoded(path: &str) -> Vec<u8> {
    let hex = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, others @ ..] = rest {
        rest = others;
        if let (b'%', [high, low, after @ ..]) = (*first, others)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
            && (high, low) != (0, 0)
        {
            decoded.push(high * 16 + low);
            rest = after;
        } else {
            decoded.push(*first);
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn variables(request: http::request::Builder) -> Vec<(String, String)> {
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let peer = SocketAddr::from(([10, 0, 0, 1], 1234));
        of(&parts, Some(5), peer)
            .into_iter()
            .map(|(name, value)| {
                (
                    name.into_string().expect("text"),
                    value.into_string().expect("text"),
                )
            })
            .collect()
    }

    fn get<'a>(variables: &'a [(String, String)], name: &str) -> Option<&'a str> {
        let found = variables.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_request_is_told_as_cgi_names_it() {
        let request = Request::post("/a%20b/%zz?x=1&y=%20")
            .header("host", "example.com:8080")
            .header("content-type", "text/plain")
            .header("accept", "a")
            .header("accept", "b")
            .header("cookie", "c=1")
            .header("cookie", "d=2");
        let variables = variables(request);
        for (name, value) in [
            ("REQUEST_METHOD", "POST"),
            ("REQUEST_PATH", "/a%20b/%zz"),
            ("REQUEST_URI", "/a%20b/%zz?x=1&y=%20"),
            ("PATH_INFO", "/a b/%zz"),
            ("QUERY_STRING", "x=1&y=%20"),
            ("CONTENT_TYPE", "text/plain"),
            ("CONTENT_LENGTH", "5"),
            ("SERVER_NAME", "example.com"),
            ("REMOTE_ADDR", "10.0.0.1"),
            ("HTTP_ACCEPT", "a, b"),
            ("HTTP_COOKIE", "c=1; d=2"),
            ("HTTP_HOST", "example.com:8080"),
        ] {
            assert_eq!(get(&variables, name), Some(value), "{name}");
        }
        assert_eq!(get(&variables, "HTTP_CONTENT_TYPE"), None);
    }

    #[test]
    fn a_proxy_field_does_not_become_the_proxy_setting() {
        let variables = variables(Request::get("/").header("proxy", "http://evil"));
        assert_eq!(get(&variables, "HTTP_PROXY"), None);
    }

    #[test]
    fn a_field_that_only_looks_like_another_is_not_taken_for_it() {
        let variables = variables(
            Request::get("/")
                .header("x_forwarded_for", "6.6.6.6")
                .header("x-forwarded-for", "10.0.0.9")
                .header("x-forwarded_for", "6.6.6.6")
                .header("content_type", "text/evil")
                .header("x_real_ip", "6.6.6.6")
                .header("x.y", "z")
                .header("x!%", "z"),
        );
        assert_eq!(get(&variables, "HTTP_X_FORWARDED_FOR"), Some("10.0.0.9"));
        assert_eq!(get(&variables, "HTTP_X_REAL_IP"), None);
        assert_eq!(get(&variables, "HTTP_CONTENT_TYPE"), None);
        let mut names: Vec<_> = variables.iter().map(|(name, _)| name).collect();
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        );
        names.sort();
        names.dedup();
        assert_eq!(names.len(), variables.len());
    }

    #[test]
    fn names_and_paths_survive_odd_input() {
        assert_eq!(name_of(b"[::1]:80"), b"[::1]");
        assert_eq!(name_of(b"[::1]"), b"[::1]");
        assert_eq!(name_of(b"plain"), b"plain");
        assert_eq!(decoded("/%00%41%4"), b"/%00A%4");
    }
}

#[cfg(test)]
mod fuzz;
