//! Whom callers may have told what became of their calls. Pure.
//!
//! The address comes from whoever calls, so that it must lead to nothing that they could not reach themselves: hosts are
//! named by the administrator, and what they resolve to is looked at before anything is connected to.

use std::{fmt, net::IpAddr, str::FromStr};

use http::{Uri, uri::Scheme};

/// The longest URL of a callback, in bytes.
const LONGEST: usize = 2048;

/// Hosts that may be called back: one, or all below a domain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AllowedHost(Pattern);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Pattern {
    /// This address.
    Address(IpAddr),
    /// This name, in lower case.
    Name(Box<str>),
    /// All names that end so, in lower case, with a dot at the beginning.
    Below(Box<str>),
}

/// A text that names no hosts.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{0} is no host: write a name such as hooks.example.com, *.example.com, or an address, without scheme and port"
)]
pub struct NotAHost(String);

/// Why a URL is not called back.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Refused {
    /// It is no URL that could be.
    #[error(
        "X-Callback-Url is one URL, http://HOST/PATH or https://HOST/PATH, without a user and of at most {LONGEST} bytes"
    )]
    Malformed,
    /// Nobody has allowed it.
    #[error(
        "{0} is not called back: --callback-allow of fermata-events (events.callbacks.allow of the chart) does not name it"
    )]
    NotAllowed(Box<str>),
}

/// Where a callback goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Target {
    /// Whether by TLS.
    pub(crate) tls: bool,
    /// A name in lower case, or an address without brackets.
    pub(crate) host: Box<str>,
    /// The port.
    pub(crate) port: u16,
    /// Host and port as the URL has them.
    pub(crate) authority: Box<str>,
    /// Path and query.
    pub(crate) path: Box<str>,
}

/// Which addresses a host may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reach {
    /// Those of the internet.
    Global,
    /// Those of the cluster too.
    Cluster,
    /// Those of this machine alone.
    Machine,
    /// Whatever it is: it was named itself.
    Any,
}

// === impl Pattern ===

impl Pattern {
    /// Whether names of Services are meant, and not only whatever somebody calls so below a domain.
    fn names_services(&self) -> bool {
        match self {
            Self::Address(_) => false,
            Self::Name(name) => is_service(name),
            Self::Below(suffix) => suffix.split('.').any(|label| label == "svc"),
        }
    }
}

// === impl AllowedHost ===

impl FromStr for AllowedHost {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, NotAHost> {
        let lower = text.to_ascii_lowercase();
        let bare = lower.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self(Pattern::Address(address.to_canonical())));
        }
        let (name, below) = match lower.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (&*lower, false),
        };
        let is_label = |label: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !label.is_empty() && label.len() <= 63 && label.bytes().all(is_plain)
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(NotAHost(text.to_owned()));
        }
        Ok(Self(match below {
            true => Pattern::Below(format!(".{name}").into()),
            false => Pattern::Name(name.into()),
        }))
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Pattern::Address(address) => write!(formatter, "{address}"),
            Pattern::Name(name) => formatter.write_str(name),
            Pattern::Below(suffix) => write!(formatter, "*{suffix}"),
        }
    }
}

// === impl Target ===

impl Target {
    /// Reads a URL, and looks whether its host is one of these.
    ///
    /// # Errors
    ///
    /// When it makes no sense, or is not allowed.
    pub(crate) fn read(url: &str, allowed: &[AllowedHost]) -> Result<Self, Refused> {
        if url.len() > LONGEST {
            return Err(Refused::Malformed);
        }
        let uri: Uri = url.parse().map_err(|_| Refused::Malformed)?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(Refused::Malformed),
        };
        let authority = uri.authority().ok_or(Refused::Malformed)?;
        let port = authority.as_str().strip_prefix(authority.host());
        let port = match port.ok_or(Refused::Malformed)? {
            "" => None,
            port => Some(port.trim_start_matches(':').parse::<u16>()),
        };
        let port = port.transpose().map_err(|_| Refused::Malformed)?;
        let host = authority.host().to_ascii_lowercase();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.is_empty() {
            return Err(Refused::Malformed);
        }
        let target = Self {
            tls,
            host: host.into(),
            port: port.unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.as_str().into(),
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .into(),
        };
        match target.reach(allowed) {
            Some(_) => Ok(target),
            None => Err(Refused::NotAllowed(target.host)),
        }
    }

    /// Whether it may be connected to at this address, to which its host resolves.
    #[must_use]
    pub(crate) fn may_be_at(&self, address: IpAddr, allowed: &[AllowedHost]) -> bool {
        let address = address.to_canonical();
        match self.reach(allowed) {
            None => false,
            Some(Reach::Any) => true,
            Some(Reach::Machine) => address.is_loopback(),
            Some(Reach::Cluster) => is_global(address) || is_private(address),
            Some(Reach::Global) => is_global(address),
        }
    }

    /// Which addresses it may have; `None` if nobody has allowed it.
    fn reach(&self, allowed: &[AllowedHost]) -> Option<Reach> {
        let host = &*self.host;
        if let Ok(address) = host.parse::<IpAddr>() {
            let named = Pattern::Address(address.to_canonical());
            return allowed
                .iter()
                .any(|one| one.0 == named)
                .then_some(Reach::Any);
        }
        // A name of digits would be taken for an address by who resolves it.
        if host.rsplit('.').next().is_some_and(|last| {
            last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit())
        }) {
            return None;
        }
        // The widest of those that name it counts, wherever it stands.
        let matching = allowed.iter().map(|one| &one.0).filter(|one| match one {
            Pattern::Address(_) => false,
            Pattern::Name(name) => **name == *host,
            Pattern::Below(suffix) => host.ends_with(&**suffix) && host.len() > suffix.len(),
        });
        let matching: Vec<&Pattern> = matching.collect();
        let any = |wide: fn(&Pattern) -> bool| matching.iter().any(|one| wide(one));
        if matching.is_empty() {
            return None;
        }
        Some(match host {
            "localhost" if any(|one| matches!(one, Pattern::Name(_))) => Reach::Machine,
            _ if is_service(host) && any(Pattern::names_services) => Reach::Cluster,
            _ => Reach::Global,
        })
    }
}

/// Whether a name is that of a Service, `NAME.NAMESPACE.svc`, with the cluster's domain or without.
fn is_service(host: &str) -> bool {
    host.split('.').nth(2) == Some("svc")
}

/// Whether an address is one of the internet, and leads to nobody's own network or machine
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry>, `-ipv6-`).
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            let special = a == 0
                || a >= 224
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && (c == 0 || c == 2))
                || (a == 192 && b == 88 && c == 99)
                || (a == 198 && matches!(b, 18 | 19))
                || (a == 198 && b == 51 && c == 100)
                || (a == 203 && b == 0 && c == 113);
            !(special || ip.is_private() || ip.is_loopback() || ip.is_link_local())
        }
        IpAddr::V6(ip) => {
            let [first, second, ..] = ip.segments();
            // 2000::/3, without what embeds addresses of IPv4 or is for documentation.
            let special = (first == 0x2001 && (second < 0x200 || second == 0xdb8))
                || first == 0x2002
                || (first == 0x3fff && second < 0x1000);
            (first & 0xe000) == 0x2000 && !special
        }
    }
}

/// Whether an address is one of a network of one's own, such as a cluster's.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(ip) => (ip.segments()[0] & 0xfe00) == 0xfc00,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(hosts: &[&str]) -> Vec<AllowedHost> {
        hosts.iter().map(|host| host.parse().unwrap()).collect()
    }

    fn read(url: &str, hosts: &[&str]) -> Result<Target, Refused> {
        Target::read(url, &allowed(hosts))
    }

    fn may(url: &str, hosts: &[&str], address: &str) -> bool {
        let target = read(url, hosts).unwrap();
        target.may_be_at(address.parse().unwrap(), &allowed(hosts))
    }

    #[test]
    fn the_widest_entry_counts_wherever_it_stands() {
        let url = "http://inbox.shop.svc.cluster.local/";
        let entries = ["*.local", "inbox.shop.svc.cluster.local"];
        assert!(may(url, &entries, "10.0.0.7"));
        assert!(may(url, &[entries[1], entries[0]], "10.0.0.7"));
        assert!(!may(url, &entries[..1], "10.0.0.7"));
    }

    #[test]
    fn hosts_are_names_domains_and_addresses() {
        for (text, shown) in [
            ("Hooks.Example.com", "hooks.example.com"),
            ("*.example.com", "*.example.com"),
            ("10.0.0.7", "10.0.0.7"),
            ("[::1]", "::1"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(text.parse::<AllowedHost>().unwrap().to_string(), shown);
        }
        for other in [
            "", "*", "*.", "a..b", "http://a", "a:80", "a/b", "*.*.a", "a b",
        ] {
            assert!(other.parse::<AllowedHost>().is_err(), "{other}");
        }
    }

    #[test]
    fn a_url_is_read_and_only_what_is_named_is_allowed() {
        let target = read("https://Hooks.Example.com:8443/a?b=c", &["*.example.com"]).unwrap();
        assert_eq!(
            (target.tls, &*target.host, target.port),
            (true, "hooks.example.com", 8443)
        );
        assert_eq!(
            (&*target.authority, &*target.path),
            ("Hooks.Example.com:8443", "/a?b=c")
        );
        assert_eq!(read("http://a.b", &["a.b"]).unwrap().port, 80);
        assert_eq!(read("http://a.b./", &["a.b"]).unwrap().host, "a.b".into());
        for url in [
            "ftp://a.b",
            "a.b",
            "/a",
            "http://",
            "http://u@a.b/",
            "http://u:p@a.b/",
            "http://a.b:99999/",
            "http://a.b:x/",
            "file:///etc/passwd",
            "http://a b/",
        ] {
            assert_eq!(read(url, &["a.b"]), Err(Refused::Malformed), "{url}");
        }
        let long = format!("http://a.b/{}", "x".repeat(LONGEST));
        assert_eq!(read(&long, &["a.b"]), Err(Refused::Malformed));
        for url in [
            "http://example.com",
            "http://aexample.com",
            "http://example.com.evil.org",
            "http://127.0.0.1",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://127.1/",
            "http://[::1]/",
            "http://localhost/",
        ] {
            let refused = read(url, &["*.example.com"]);
            assert!(
                matches!(refused, Err(Refused::NotAllowed(_))),
                "{url} {refused:?}"
            );
        }
        // No pattern of names allows an address, nor a number that stands for one.
        assert!(read("http://10.0.0.1/", &["*.1", "*.0.1"]).is_err());
        assert!(read("http://127.1/", &["127.1"]).is_err());
    }

    #[test]
    fn what_a_name_resolves_to_is_no_network_of_ones_own() {
        let (url, hosts) = ("http://hooks.example.com", &["hooks.example.com"][..]);
        for global in ["93.184.216.34", "2606:2800:220:1::1"] {
            assert!(may(url, hosts, global), "{global}");
        }
        for own in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "::",
            "::ffff:10.0.0.1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
        ] {
            assert!(!may(url, hosts, own), "{own}");
        }
    }

    #[test]
    fn what_is_named_itself_may_be_near() {
        let service = "http://inbox.shop.svc.cluster.local/";
        for hosts in [
            &["*.shop.svc.cluster.local"][..],
            &["inbox.shop.svc.cluster.local"],
        ] {
            assert!(may(service, hosts, "10.96.0.7"));
            assert!(!may(service, hosts, "127.0.0.1"));
            assert!(!may(service, hosts, "169.254.169.254"));
        }
        assert!(may("http://a.b.svc/", &["*.svc"], "10.96.0.7"));
        // Whoever has names below a domain may call one so.
        assert!(!may(
            "http://a.b.svc.example.com/",
            &["*.example.com"],
            "10.96.0.7"
        ));
        assert!(may("http://10.0.0.7:9000/", &["10.0.0.7"], "10.0.0.7"));
        assert!(may("http://[::1]:9000/", &["::1"], "::1"));
        assert!(may("http://localhost:9000/", &["localhost"], "127.0.0.1"));
        assert!(!may("http://localhost:9000/", &["localhost"], "10.0.0.1"));
    }
}
