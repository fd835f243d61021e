//! Where a repository is.

use super::error::Error;

/// How it is reached, and whom credentials are for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Address {
    /// By HTTP.
    Http {
        /// `http` or `https`.
        scheme: &'static str,
        /// The host, with its port if the address has one.
        host: String,
    },
    /// By SSH.
    Ssh,
}

// === impl Address ===

impl Address {
    /// Reads an address as manifests and `.gitmodules` have them; any other protocol is refused.
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        let refused = || {
            Err(Error::Refused(format!(
                "{url:?} is no address of a repository: https://HOST/PATH, http://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH"
            )))
        };
        if url.starts_with('-') || url.contains(|letter: char| letter.is_control() || letter == ' ')
        {
            return refused();
        }
        for scheme in ["https", "http"] {
            let rest = url.strip_prefix(scheme);
            let Some(rest) = rest.and_then(|rest| rest.strip_prefix("://")) else {
                continue;
            };
            let host = rest.split('/').next().unwrap_or_default();
            if host.is_empty() || host.contains('@') {
                return refused();
            }
            let host = host.to_owned();
            return Ok(Self::Http { scheme, host });
        }
        if let Some(rest) = url.strip_prefix("ssh://") {
            let host = rest.split('/').next().unwrap_or_default();
            let plain = !host.is_empty() && !host.starts_with('-') && !host.contains("@-");
            return if plain { Ok(Self::Ssh) } else { refused() };
        }
        let scp = url.split_once(':').and_then(|(place, path)| {
            let (user, host) = place.split_once('@')?;
            let named = !user.is_empty() && !host.is_empty() && !host.starts_with('-');
            (named && !place.contains('/') && !path.is_empty() && !path.starts_with('-'))
                .then_some(())
        });
        if scp.is_some() {
            Ok(Self::Ssh)
        } else {
            refused()
        }
    }
}

/// The address of a submodule, which may be relative to that of the repository that has it, as git resolves it.
pub(super) fn resolve(parent: &str, url: &str) -> String {
    if !url.starts_with("./") && !url.starts_with("../") {
        return url.to_owned();
    }
    let mut base = parent.trim_end_matches('/').to_owned();
    let mut rest = url;
    loop {
        if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else if let Some(after) = rest.strip_prefix("../") {
            rest = after;
            let scheme = base.find("://").map_or(0, |at| at + 3);
            let path = base.get(scheme..).unwrap_or_default();
            match path.rfind(['/', ':']) {
                Some(at) if path.get(at..=at) == Some(":") => {
                    base.truncate(scheme + at + 1);
                    return format!("{base}{rest}");
                }
                Some(at) => base.truncate(scheme + at),
                None => return format!("{base}/{rest}"),
            }
        } else {
            return format!("{base}/{rest}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_other_machines_are_taken() {
        let http = |scheme, host: &str| Address::Http {
            scheme,
            host: host.into(),
        };
        for (url, address) in [
            ("https://example.com/a/b.git", http("https", "example.com")),
            ("http://10.0.0.1:8080/a", http("http", "10.0.0.1:8080")),
            ("ssh://git@example.com:22/a", Address::Ssh),
            ("git@example.com:a/b", Address::Ssh),
        ] {
            assert_eq!(Address::parse(url).unwrap(), address, "{url}");
        }
        for url in [
            "",
            "file:///etc",
            "/etc",
            "../x",
            "git://example.com/a",
            "ext::sh -c x",
            "https://user:word@example.com/a",
            "-uhttps://x",
            "ssh://-oProxyCommand=x/y",
            "git@-oProxyCommand=x:y",
            "https://",
        ] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_relative_address_is_one_beside_the_parent() {
        for (parent, url, resolved) in [
            ("https://h/a/b.git", "../c.git", "https://h/a/c.git"),
            ("https://h/a/b.git/", "../../c", "https://h/c"),
            ("https://h/a", "./c", "https://h/a/c"),
            ("git@h:a/b", "../c", "git@h:a/c"),
            ("git@h:b", "../c", "git@h:c"),
            ("https://h/a", "https://o/c", "https://o/c"),
            ("https://h/a", "../../../../etc", "https://h/../etc"),
        ] {
            let found = resolve(parent, url);
            if url.contains("etc") {
                assert!(found.starts_with("https://h"), "{found}");
            } else {
                assert_eq!(found, resolved);
            }
        }
    }
}
