//! Under which names the admin port answers.
//!
//! A web page may lead its own host name to an address of the reader's network (DNS rebinding), and could
//! then read what is behind it with the reader's browser. It cannot choose the `Host` that the browser
//! sends: that is the page's own.

use std::net::{IpAddr, Ipv6Addr};

use http::{Request, header};

/// Whether a request asks for one of the listener's own names: an address, `localhost`, or one of these. Who sends
/// no name is no browser.
#[must_use]
pub fn is_asked<B>(request: &Request<B>, names: &[String]) -> bool {
    let own = |host: &str| is_own(host, names);
    let authority = request.uri().authority();
    let mut hosts = request.headers().get_all(header::HOST).iter();
    authority.is_none_or(|authority| own(authority.as_str()))
        && hosts.all(|host| host.to_str().is_ok_and(own))
}

/// Whether a `Host` is one of the listener's own: an address, `localhost`, or one of the names, with or
/// without a port.
fn is_own(host: &str, names: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            return rest.split_once(']').is_some_and(|(address, port)| {
                address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port))
            });
        }
        None => match host.split_once(':') {
            Some((name, port)) if is_port_number(port) => name,
            Some(_) => return false,
            None => host,
        },
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(is_port_number)
}

fn is_port_number(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_given_names_are_own() {
        let names = ["metrics.example.org".to_owned()];
        for own in [
            "127.0.0.1",
            "10.0.0.7:9090",
            "[::1]",
            "[fd00::1]:9090",
            "localhost",
            "LOCALHOST.:9090",
            "metrics.example.org",
            "Metrics.Example.Org:9090",
        ] {
            assert!(is_own(own, &names), "{own}");
        }
        for other in [
            "",
            "evil.example",
            "evil.example:9090",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "metrics.example.org.evil.example",
            "[evil.example]",
            "[::1]x",
            "127.0.0.1:x",
            "127.0.0.1:9090:1",
            "0x7f.1",
        ] {
            assert!(!is_own(other, &names), "{other}");
        }
    }
}
