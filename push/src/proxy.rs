//! The proxy that registries are reached through, where there is one: as the environment says it to git, pip, npm, go
//! and cargo (`HTTPS_PROXY` or `ALL_PROXY`, and `NO_PROXY`).

use std::net::IpAddr;

use http::Uri;

/// The proxy for https, and who is reached without it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxy {
    /// `http://HOST:PORT`.
    address: Option<Uri>,
    except: Vec<String>,
}

// === impl Proxy ===

impl Proxy {
    /// What variables of the environment say, which are looked up by `get`.
    ///
    /// # Errors
    ///
    /// With the name of the variable, and what is wrong with it.
    pub(crate) fn read(
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, (&'static str, String)> {
        let given = |name: &&'static str| {
            let value = get(name).filter(|value| !value.is_empty())?;
            Some((*name, value))
        };
        let named = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
        let address = match named.iter().find_map(given) {
            Some((name, value)) => Some(address(&value).map_err(|why| (name, why))?),
            None => None,
        };
        let except = ["no_proxy", "NO_PROXY"].iter().find_map(given);
        let except = except.map(|(_, value)| value).unwrap_or_default();
        let except = except.split(',').map(|entry| entry.trim().to_lowercase());
        Ok(Self {
            address,
            except: except.filter(|entry| !entry.is_empty()).collect(),
        })
    }

    /// The proxy for an address, if it is not reached directly.
    pub(crate) fn of(&self, uri: &Uri) -> Option<&Uri> {
        let proxy = self.address.as_ref()?;
        let host = uri.host()?.trim_matches(['[', ']']).to_lowercase();
        let direct = self.except.iter().any(|entry| covers(entry, &host));
        (uri.scheme_str() == Some("https") && !direct).then_some(proxy)
    }
}

/// The address of a proxy. Not with a password, which everybody would see who sees the pod.
fn address(text: &str) -> Result<Uri, String> {
    let whole = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let uri: Option<Uri> = whole.parse().ok();
    let uri = uri.filter(|uri| {
        let bare = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/");
        let is_host = uri.authority().is_some_and(|found| {
            // A port that is no number belongs to neither.
            let whole = found.port_u16().is_some() || found.as_str() == found.host();
            !found.host().is_empty() && whole
        });
        bare && is_host && uri.query().is_none() && !whole.contains(['@', '#'])
    });
    uri.ok_or_else(|| "it is http://HOST:PORT, without a user or a path".to_owned())
}

/// Whether an entry of `NO_PROXY` covers a host: `*`, a domain with all below it, an address, or a network.
fn covers(entry: &str, host: &str) -> bool {
    if entry == "*" {
        return true;
    }
    if let Ok(host) = host.parse::<IpAddr>() {
        return match entry.split_once('/') {
            Some((network, bits)) => contains(network, bits, host).unwrap_or(false),
            None => entry.trim_matches(['[', ']']).parse() == Ok(host),
        };
    }
    let entry = match entry.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => entry,
    };
    let domain = entry.trim_start_matches('*').trim_start_matches('.');
    let below = host.strip_suffix(domain);
    !domain.is_empty() && below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether an address is in a network.
fn contains(network: &str, bits: &str, host: IpAddr) -> Option<bool> {
    let bits: u32 = bits.parse().ok()?;
    let prefix = |value: u128, of: u32| value.checked_shr(of.checked_sub(bits)?).or(Some(0));
    Some(match (network.parse().ok()?, host) {
        (IpAddr::V4(network), IpAddr::V4(host)) => {
            let value = |ip: std::net::Ipv4Addr| u128::from(u32::from(ip));
            prefix(value(network), 32)? == prefix(value(host), 32)?
        }
        (IpAddr::V6(network), IpAddr::V6(host)) => {
            prefix(network.into(), 128)? == prefix(host.into(), 128)?
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(pairs: &[(&str, &str)]) -> Result<Proxy, (&'static str, String)> {
        Proxy::read(|name| {
            let found = pairs.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn https_goes_through_the_proxy_but_for_exceptions() {
        let proxy = proxy(&[
            ("HTTPS_PROXY", "proxy.example.com:3128"),
            (
                "NO_PROXY",
                "localhost, .svc,*.corp.example,own.example,10.0.0.0/8,fd00::/8,192.0.2.7,r.example:5000",
            ),
        ]);
        let proxy = proxy.unwrap();
        for (uri, through) in [
            ("https://registry.example.com/v2/", true),
            ("https://notown.example/", true),
            ("https://192.0.2.8/", true),
            ("https://11.0.0.1:5000/", true),
            ("http://registry.example.com/", false),
            ("https://LOCALHOST:5000/", false),
            ("https://registry.shop.svc/", false),
            ("https://a.b.corp.example/", false),
            ("https://own.example/", false),
            ("https://r.own.example/", false),
            ("https://r.example:5000/", false),
            ("https://10.1.2.3/", false),
            ("https://[fd00::1]:5000/", false),
            ("https://192.0.2.7/", false),
        ] {
            let found = proxy.of(&uri.parse().unwrap());
            assert_eq!(found.is_some(), through, "{uri}");
        }
        assert!(
            Proxy::default()
                .of(&Uri::from_static("https://a/"))
                .is_none()
        );
        let none = self::proxy(&[("https_proxy", "http://p:1"), ("no_proxy", "*")]).unwrap();
        assert!(none.of(&Uri::from_static("https://a/")).is_none());
    }

    #[test]
    fn what_is_no_proxy_is_told_by_the_name_of_its_variable() {
        for wrong in [
            "https://proxy:1",
            "http://user:word@proxy:1",
            "socks5://p",
            "http://proxy:1/path",
            "proxy:1?query",
            "proxy:port",
            ":",
        ] {
            let (name, why) = proxy(&[("HTTPS_PROXY", wrong)]).unwrap_err();
            assert_eq!(name, "HTTPS_PROXY");
            assert!(
                why.contains("http://HOST:PORT") && !why.contains("word"),
                "{why}"
            );
        }
    }
}
