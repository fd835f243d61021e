//! What happens to headers on their way through.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{self, CONNECTION, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE},
};

use crate::{
    proxy::{deadlines::Meter, hangup::HangUp, streams::Streams, survey::Survey},
    sync::lock,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Marks a request that a gateway passes on to the function's keeper. It is believed only from the
/// address of a gateway. Its value is the caller's namespace, or [`UNKNOWN_NAMESPACE`], and how often the
/// request was passed on, as in `default/1`.
pub const PASSED_ON: HeaderName = HeaderName::from_static("x-fermata-passed-on");

/// What is said of a caller whose namespace is not known; no namespace has this name.
pub const UNKNOWN_NAMESPACE: &str = "-";

/// The value of [`PASSED_ON`].
#[must_use]
pub fn mark(namespace: Option<&str>, hops: u32) -> HeaderValue {
    let namespace = namespace.unwrap_or(UNKNOWN_NAMESPACE);
    HeaderValue::try_from(format!("{namespace}/{hops}")).unwrap_or(HeaderValue::from_static("-/1"))
}

/// The namespace and the number in a value of [`PASSED_ON`]. Other versions may say less.
#[must_use]
pub fn read_mark(mark: &HeaderValue) -> (Option<Box<str>>, u32) {
    let mark = mark.to_str().unwrap_or_default();
    let Some((namespace, hops)) = mark.split_once('/') else {
        return (None, 1);
    };
    let namespace = Some(namespace).filter(|namespace| *namespace != UNKNOWN_NAMESPACE);
    (namespace.map(Into::into), hops.parse().unwrap_or(u32::MAX))
}

/// Where a connection came in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entrance {
    /// The listener for everybody.
    Public,
    /// The listener for callers in the cluster.
    Internal,
}

/// What a connection's requests have in common.
#[derive(Debug)]
pub struct Client {
    ip: IpAddr,
    entrance: Entrance,
    address: HeaderValue,
    /// The streams of an HTTP/2 connection.
    streams: Option<Arc<Streams>>,
    /// What lets an HTTP/1.1 connection look whether it is still there.
    hang_up: Option<Arc<HangUp>>,
    /// What watched the body of the last request, to be used again.
    meter: Mutex<Arc<Meter>>,
    /// The last `Forwarded` that was made, with the host it was made for: one connection mostly asks
    /// one host.
    forwarded: Mutex<Option<(HeaderValue, HeaderValue)>>,
}

/// What a request wants of its connection.
#[derive(Clone, Debug, Default)]
pub struct Hop {
    /// The protocol to switch to.
    pub upgrade: Option<HeaderValue>,
    /// Whether trailers are welcome in the response.
    pub trailers: bool,
}

// === impl Client ===

impl Client {
    /// The client at this address, which came in there.
    #[must_use]
    pub fn new(address: SocketAddr, entrance: Entrance) -> Self {
        let ip = address.ip().to_canonical();
        let text = ip.to_string();
        Self {
            ip,
            entrance,
            address: HeaderValue::try_from(text)
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            streams: None,
            hang_up: None,
            meter: Mutex::default(),
            forwarded: Mutex::new(None),
        }
    }

    /// The same, over an HTTP/2 connection with these streams.
    #[must_use]
    pub fn over(self, streams: Arc<Streams>) -> Self {
        Self {
            streams: Some(streams),
            ..self
        }
    }

    /// What watches the body of a request: the same as last time, if nothing else uses that any more.
    #[must_use]
    pub fn meter(&self) -> Arc<Meter> {
        let mut last = lock(&self.meter);
        if Arc::strong_count(&last) == 1 {
            last.reset();
        } else {
            *last = Arc::default();
        }
        last.clone()
    }

    /// The same, over an HTTP/1.1 connection that can be told to look.
    #[must_use]
    pub fn watched(self, hang_up: Arc<HangUp>) -> Self {
        Self {
            hang_up: Some(hang_up),
            ..self
        }
    }

    /// What lets its connection look whether it is still there. HTTP/2 does that all the time.
    #[must_use]
    pub fn hang_up(&self) -> Option<&Arc<HangUp>> {
        self.hang_up.as_ref()
    }

    /// Waits for as long as the client does.
    ///
    /// # Cancel safety
    ///
    /// That of the wait.
    pub async fn attend<T>(&self, wait: impl Future<Output = T>) -> T {
        match &self.hang_up {
            Some(hang_up) => hang_up.attend(wait).await,
            None => wait.await,
        }
    }

    /// The streams of its connection, if that is one of HTTP/2.
    #[must_use]
    pub fn streams(&self) -> Option<&Streams> {
        self.streams.as_deref()
    }

    /// Its address.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Where it came in.
    #[must_use]
    pub fn entrance(&self) -> Entrance {
        self.entrance
    }

    /// Says who asks, and for what. What the client itself said about that is replaced, unless it
    /// is a proxy that is trusted.
    pub fn add_forwarded(&self, headers: &mut HeaderMap, host: &HeaderValue, trusted: bool) {
        let element = self.forwarded(host);
        if trusted {
            append(headers, FORWARDED_FOR, &self.address);
            append(headers, header::FORWARDED, &element);
            let proto = headers.entry(FORWARDED_PROTO);
            proto.or_insert(HeaderValue::from_static("http"));
            headers
                .entry(FORWARDED_HOST)
                .or_insert_with(|| host.clone());
        } else {
            headers.insert(FORWARDED_FOR, self.address.clone());
            headers.insert(header::FORWARDED, element);
            headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
            headers.insert(FORWARDED_HOST, host.clone());
        }
    }

    fn forwarded(&self, host: &HeaderValue) -> HeaderValue {
        let mut last = lock(&self.forwarded);
        if let Some((known, element)) = &*last
            && known == host
        {
            return element.clone();
        }
        let element = forwarded_element(&self.address, host);
        *last = Some((host.clone(), element.clone()));
        element
    }
}

/// One element of RFC 7239. IPv6 addresses and hosts with a port have to be quoted.
fn forwarded_element(address: &HeaderValue, host: &HeaderValue) -> HeaderValue {
    let address = address.to_str().unwrap_or("unknown");
    let mut text = String::with_capacity(64);
    // Writing to a String cannot fail.
    let _ = if address.contains(':') {
        write!(text, "for=\"[{address}]\"")
    } else {
        write!(text, "for={address}")
    };
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

/// Removes what is only meant for the connection it came over (RFC 9110, section 7.6.1), and says
/// what of that the request wants.
pub fn strip_hop(headers: &mut HeaderMap, version: Version, survey: &Survey) -> Hop {
    let mut hop = Hop::default();
    if !survey.hop {
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
pub fn strip_expect(headers: &mut HeaderMap) {
    let is_continue =
        |expect: &HeaderValue| expect.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get(EXPECT).is_some_and(is_continue) {
        headers.remove(EXPECT);
    }
}

/// Puts back what the next hop has to know.
pub fn restore_hop(headers: &mut HeaderMap, hop: &Hop) {
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

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    let text = value.to_str().unwrap_or_default();
    text.split(',')
        .map(str::trim)
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
        let survey = Survey::of(headers);
        strip_hop(headers, Version::HTTP_11, &survey)
    }

    fn client(address: &str) -> Client {
        Client::new(address.parse().unwrap(), Entrance::Public)
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

    #[test]
    fn what_a_client_says_about_itself_is_replaced() {
        let mut some = headers(&[
            ("x-forwarded-for", "1.1.1.1"),
            ("forwarded", "for=1.1.1.1"),
            ("x-forwarded-proto", "https"),
        ]);
        let host = HeaderValue::from_static("a.example:8080");
        client("10.0.0.9:5").add_forwarded(&mut some, &host, false);
        assert_eq!(some["x-forwarded-for"], "10.0.0.9");
        assert_eq!(
            some["forwarded"],
            "for=10.0.0.9;host=\"a.example:8080\";proto=http"
        );
        assert_eq!(some["x-forwarded-proto"], "http");
        assert_eq!(some["x-forwarded-host"], "a.example:8080");
    }

    #[test]
    fn what_a_trusted_proxy_says_is_added_to() {
        let mut some = headers(&[
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "outside"),
        ]);
        let host = HeaderValue::from_static("inside");
        client("[fd00::9]:5").add_forwarded(&mut some, &host, true);
        assert_eq!(some["x-forwarded-for"], "1.1.1.1, 2.2.2.2, fd00::9");
        assert_eq!(some.get_all("x-forwarded-for").iter().count(), 1);
        assert_eq!(
            some["forwarded"],
            "for=\"[fd00::9]\";host=\"inside\";proto=http"
        );
        assert_eq!(some["x-forwarded-proto"], "https");
        assert_eq!(some["x-forwarded-host"], "outside");
    }
}
